// Copyright (c) 2026, poolwright.virt contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// The simulator ends when a snapshot is removed a second time while the first removal is under way. Here the second is told that it is gone.

type snapshot struct {
	*simulator.VirtualMachineSnapshot
}

var removed sync.Map

// RemoveSnapshotTask lets the first one pass.
func (s *snapshot) RemoveSnapshotTask(ctx *simulator.Context, r *types.RemoveSnapshot_Task) soap.HasFault {
	if _, before := removed.LoadOrStore(r.This, true); before {
		return &methods.RemoveSnapshot_TaskBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: r.This})}
	}
	return s.VirtualMachineSnapshot.RemoveSnapshotTask(ctx, r)
}

// snapshots has one that is to be removed be such a snapshot, for this session.
func snapshots(ctx *simulator.Context, method *simulator.Method) {
	if method.Name != "RemoveSnapshot_Task" || ctx.Session == nil {
		return
	}
	if one, ok := ctx.Session.Get(method.This).(*simulator.VirtualMachineSnapshot); ok {
		ctx.Session.Put(&snapshot{one})
	}
}
