// Copyright (c) 2026, poolwright.virt contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vmdk"
)

// The simulator throws away what is sent under a lease, and copies the bytes of a sparse disk where a real one converts it. Here both
// become the flat disk that a real vCenter makes of them, by qemu-img.

// keeper is the handler in front of the simulator that sees the transfers under leases.
type keeper struct {
	next     http.Handler
	registry *simulator.Registry
	mu       sync.Mutex
	machines map[string]string // lease -> name of the machine that is imported
}

func keepBits(next http.Handler, registry *simulator.Registry) http.Handler {
	if m, ok := registry.VirtualDiskManager().(*simulator.VirtualDiskManager); ok {
		registry.Put(&diskManager{VirtualDiskManager: m})
	}
	return &keeper{next: next, registry: registry, machines: map[string]string{}}
}

var (
	importedName = regexp.MustCompile(`<ImportVApp[\s>].*?<configSpec[^>]*>\s*<name>([^<]*)</name>`)
	leaseID      = regexp.MustCompile(`<returnval type="HttpNfcLease">([^<]*)</returnval>`)
)

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/sdk"):
		k.watchImport(w, r)
	case r.Method != http.MethodGet && strings.HasPrefix(r.URL.Path, "/nfc/"):
		k.keep(w, r)
	default:
		k.next.ServeHTTP(w, r)
	}
}

func (k *keeper) watchImport(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	name := importedName.FindSubmatch(body)
	if name == nil {
		k.next.ServeHTTP(w, r)
		return
	}
	seen := &copied{ResponseWriter: w}
	k.next.ServeHTTP(seen, r)
	if lease := leaseID.FindSubmatch(seen.body.Bytes()); lease != nil {
		k.mu.Lock()
		k.machines[string(lease[1])] = string(name[1])
		k.mu.Unlock()
	}
}

func (k *keeper) keep(w http.ResponseWriter, r *http.Request) {
	file, err := os.CreateTemp("", "vcenter-nfc")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer os.Remove(file.Name())
	defer file.Close()
	body := r.Body
	r.Body = io.NopCloser(io.TeeReader(body, file))
	where, name := path.Split(r.URL.Path)
	k.mu.Lock()
	machine := k.machines[path.Base(where)]
	k.mu.Unlock()
	disk := k.diskOf(machine, name)
	k.next.ServeHTTP(w, r)
	// What broke off is not a disk.
	if info, err := file.Stat(); disk != "" && err == nil && info.Size() == r.ContentLength {
		_ = toFlat(file.Name(), disk)
	}
}

// diskOf is the descriptor of a machine's disk by the descriptor's name, in this machine's file system.
func (k *keeper) diskOf(machine, name string) string {
	for _, entity := range k.registry.All("VirtualMachine") {
		vm, ok := entity.(*simulator.VirtualMachine)
		if !ok || machine == "" || vm.Name != machine || vm.Config == nil {
			continue
		}
		for _, device := range vm.Config.Hardware.Device {
			if backing, ok := device.GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
				file := backing.GetVirtualDeviceFileBackingInfo().FileName
				if path.Base(file) == name {
					return fileOf(k.registry, nil, file)
				}
			}
		}
	}
	return ""
}

// fileOf is where a path on a datastore is in this machine's file system; "" where there is no such datastore.
func fileOf(registry *simulator.Registry, datacenter *types.ManagedObjectReference, name string) string {
	var where object.DatastorePath
	if !where.FromString(name) {
		return ""
	}
	for _, entity := range registry.All("Datastore") {
		ds, ok := entity.(*simulator.Datastore)
		if !ok || ds.Name != where.Datastore {
			continue
		}
		if datacenter == nil || within(registry, ds, *datacenter) {
			return filepath.Join(ds.Summary.Url, filepath.FromSlash(where.Path))
		}
	}
	return ""
}

func within(registry *simulator.Registry, item mo.Entity, datacenter types.ManagedObjectReference) bool {
	for item != nil {
		if item.Reference() == datacenter {
			return true
		}
		parent := item.Entity().Parent
		if parent == nil {
			return false
		}
		item, _ = registry.Get(*parent).(mo.Entity)
	}
	return false
}

// toFlat makes a disk of a VMDK that is one file.
func toFlat(from, descriptor string) error {
	flat := strings.TrimSuffix(descriptor, ".vmdk") + "-flat.vmdk"
	if out, err := exec.Command("qemu-img", "convert", "-f", "vmdk", "-O", "raw", from, flat).CombinedOutput(); err != nil {
		return &os.PathError{Op: string(out), Path: from, Err: err}
	}
	info, err := os.Stat(flat)
	if err != nil {
		return err
	}
	file, err := os.Create(descriptor)
	if err != nil {
		return err
	}
	defer file.Close()
	return vmdk.NewDescriptor(vmdk.Extent{Info: filepath.Base(flat), Size: info.Size() / vmdk.SectorSize}).Write(file)
}

type diskManager struct {
	*simulator.VirtualDiskManager
}

func (m *diskManager) CopyVirtualDiskTask(ctx *simulator.Context, req *types.CopyVirtualDisk_Task) soap.HasFault {
	from, to := fileOf(ctx.Map, req.SourceDatacenter, req.SourceName), fileOf(ctx.Map, req.DestDatacenter, req.DestName)
	if from == "" || to == "" || !isSparse(from) {
		return m.VirtualDiskManager.CopyVirtualDiskTask(ctx, req)
	}
	task := simulator.CreateTask(m, "copyVirtualDisk", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if _, err := os.Stat(to); err == nil && (req.Force == nil || !*req.Force) {
			return nil, &types.FileAlreadyExists{FileFault: types.FileFault{File: req.DestName}}
		}
		if err := toFlat(from, to); err != nil {
			return nil, &types.FileFault{File: err.Error()}
		}
		return nil, nil
	})
	return &methods.CopyVirtualDisk_TaskBody{Res: &types.CopyVirtualDisk_TaskResponse{Returnval: task.Run(ctx)}}
}

func isSparse(name string) bool {
	file, err := os.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	magic := make([]byte, 4)
	_, err = io.ReadFull(file, magic)
	return err == nil && string(magic) == "KDMV"
}

// copied passes an answer on and keeps what it said.
type copied struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (c *copied) Write(p []byte) (int, error) {
	c.body.Write(p)
	return c.ResponseWriter.Write(p)
}
