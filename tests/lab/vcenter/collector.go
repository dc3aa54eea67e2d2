// Copyright (c) 2026, poolwright.virt contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// The simulator knows who is to be told of changes by the name of his collector, and the collector that sessions begin with has one name
// for all of them: whoever began to wait last was told, and nobody else. Here each session is.

type collector struct {
	simulator.PropertyCollector
}

// listener is a session's own collector under a name of its own. It goes with its session.
type listener struct {
	Self types.ManagedObjectReference
	to   *simulator.PropertyCollector
}

// shareCollector has each session begin with such a collector.
func shareCollector(known *simulator.Registry, ref types.ManagedObjectReference) {
	own := &collector{}
	own.Self = ref
	known.Put(own)
}

// WaitForUpdatesEx with no version is where a client begins to wait.
func (c *collector) WaitForUpdatesEx(ctx *simulator.Context, r *types.WaitForUpdatesEx) soap.HasFault {
	if r.Version != "" {
		return c.PropertyCollector.WaitForUpdatesEx(ctx, r)
	}
	own := &listener{types.ManagedObjectReference{Type: "PropertyCollector", Value: "listener-" + ctx.Session.Key}, &c.PropertyCollector}
	ctx.Session.Put(own)
	ctx.Map.AddHandler(own)
	answer := c.PropertyCollector.WaitForUpdatesEx(ctx, r)
	ctx.Map.RemoveHandler(&c.PropertyCollector)
	return answer
}

// WaitForUpdates is what older clients call.
func (c *collector) WaitForUpdates(ctx *simulator.Context, r *types.WaitForUpdates) soap.HasFault {
	found := c.WaitForUpdatesEx(ctx, &types.WaitForUpdatesEx{This: r.This, Version: r.Version}).(*methods.WaitForUpdatesExBody)
	body := &methods.WaitForUpdatesBody{Fault_: found.Fault_}
	if found.Res != nil && found.Res.Returnval != nil {
		body.Res = &types.WaitForUpdatesResponse{Returnval: *found.Res.Returnval}
	}
	return body
}

func (l *listener) Reference() types.ManagedObjectReference { return l.Self }

func (l *listener) PutObject(ctx *simulator.Context, obj mo.Reference) { l.to.PutObject(ctx, obj) }

func (l *listener) UpdateObject(ctx *simulator.Context, obj mo.Reference, changes []types.PropertyChange) {
	l.to.UpdateObject(ctx, obj, changes)
}

func (l *listener) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	l.to.RemoveObject(ctx, ref)
}
