// Copyright (c) 2026, poolwright.virt contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// What the simulator's machines leave out: changeVersion is compared, and running machines are cloned instantly.

var (
	reconfigured = regexp.MustCompile(`<(?:\w+:)?_this[^>]*>([^<]+)</(?:.|\n)*<(?:\w+:)?changeVersion[^>]*>([^<]+)</`)
	returned     = regexp.MustCompile(`<returnval type="Task">([^<]+)</returnval>`)
)

const concurrentAccess = `<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>` +
	`<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>the configuration was changed by another</faultstring><detail>` +
	`<ConcurrentAccessFault xmlns="urn:vim25" xsi:type="ConcurrentAccess"></ConcurrentAccessFault></detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>`

// compareVersions refuses a reconfiguration that was meant for another version of the machine's configuration than it has. Those that name
// one come one after the other for each machine, so that of two that were meant for the same version one is refused.
func compareVersions(next http.Handler, known *simulator.Registry) http.Handler {
	var locks sync.Map
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/sdk") {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var wanted [][]byte
		if methodOf(body) == "ReconfigVM_Task" {
			wanted = reconfigured.FindSubmatch(body)
		}
		if wanted == nil {
			next.ServeHTTP(w, r)
			return
		}
		held, _ := locks.LoadOrStore(string(wanted[1]), &sync.Mutex{})
		lock := held.(*sync.Mutex)
		lock.Lock()
		defer lock.Unlock()
		if vm, ok := known.Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: string(wanted[1])}).(*simulator.VirtualMachine); ok {
			version := ""
			known.WithLock(&simulator.Context{}, vm, func() { version = vm.Config.ChangeVersion })
			if version != string(wanted[2]) {
				w.Header().Set("Content-Type", "text/xml")
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = io.WriteString(w, concurrentAccess)
				return
			}
		}
		answer := &buffered{header: w.Header(), status: http.StatusOK}
		next.ServeHTTP(answer, r)
		if begun := returned.FindSubmatch(answer.body.Bytes()); begun != nil {
			waitFor(known, types.ManagedObjectReference{Type: "Task", Value: string(begun[1])})
		}
		w.WriteHeader(answer.status)
		_, _ = w.Write(answer.body.Bytes())
	})
}

func waitFor(known *simulator.Registry, ref types.ManagedObjectReference) {
	for task, ok := known.Get(ref).(*simulator.Task); ok; {
		state := types.TaskInfoStateRunning
		known.WithLock(&simulator.Context{}, task, func() { state = task.Info.State })
		if state == types.TaskInfoStateSuccess || state == types.TaskInfoStateError {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// machine can be cloned instantly.
type machine struct {
	*simulator.VirtualMachine
}

// machines has a machine that is to be cloned instantly be one that can be, for this session.
func machines(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if method.Name == "InstantClone_Task" && ctx.Session != nil {
		if vm, ok := ctx.Session.Get(method.This).(*simulator.VirtualMachine); ok {
			ctx.Session.Put(&machine{vm})
		}
	}
	return nil, nil
}

// InstantCloneTask clones and starts. As on a real one, its source has to run.
func (m *machine) InstantCloneTask(ctx *simulator.Context, req *types.InstantClone_Task) soap.HasFault {
	if m.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		task := simulator.CreateTask(m.VirtualMachine, "instantClone", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
			return nil, &types.InvalidPowerState{
				RequestedState: types.VirtualMachinePowerStatePoweredOn, ExistingState: m.Runtime.PowerState}
		})
		return &methods.InstantClone_TaskBody{Res: &types.InstantClone_TaskResponse{Returnval: task.Run(ctx)}}
	}
	clone := &types.CloneVM_Task{
		This: req.This, Name: req.Spec.Name,
		Spec: types.VirtualMachineCloneSpec{
			Location: req.Spec.Location, PowerOn: true,
			Config: &types.VirtualMachineConfigSpec{ExtraConfig: req.Spec.Config, Uuid: req.Spec.BiosUuid},
		},
	}
	if clone.Folder = *m.Parent; req.Spec.Location.Folder != nil {
		clone.Folder = *req.Spec.Location.Folder
	}
	body := m.CloneVMTask(ctx, clone)
	if done, ok := body.(*methods.CloneVM_TaskBody); ok && done.Res != nil {
		return &methods.InstantClone_TaskBody{Res: &types.InstantClone_TaskResponse{Returnval: done.Res.Returnval}}
	}
	return body
}
