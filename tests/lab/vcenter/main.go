// Copyright (c) 2026, poolwright.virt contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Vcenter is a vCenter for tests: govmomi's simulator, with an inventory in memory, behind TLS with a CA of its own. A test can ask it
// what its client did, and have it fail in the ways a real one does; control.go lists how.
//
// It prints "ready HOST:PORT" and serves until SIGTERM, or until the process it was told of (-with) is gone.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	_ "github.com/vmware/govmomi/vapi/simulator"
)

// delays reads "Name:milliseconds,...", with the names of tasks.
func delays(spec string) (map[string]int, error) {
	m := map[string]int{}
	for part := range strings.SplitSeq(spec, ",") {
		if part == "" {
			continue
		}
		name, ms, _ := strings.Cut(part, ":")
		n, err := strconv.Atoi(ms)
		if err != nil {
			return nil, fmt.Errorf("%q: want Name:milliseconds", part)
		}
		m[name] = n
	}
	if len(m) > 0 {
		m["LockHandoff"] = 0 // whoever reads an object need not wait for the task that runs on it
	}
	return m, nil
}

func main() {
	// The inventory takes a few MB and is copied for each answer: by default a third of the time goes into collecting it again.
	debug.SetGCPercent(800)
	m := simulator.VPX()
	listen := flag.String("l", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	user, password := flag.String("user", "user", "login"), flag.String("password", "pass", "password")
	flag.IntVar(&m.Datacenter, "dc", m.Datacenter, "datacenters")
	flag.IntVar(&m.Cluster, "cluster", m.Cluster, "clusters in each datacenter")
	flag.IntVar(&m.ClusterHost, "host", m.ClusterHost, "hosts in each cluster")
	flag.IntVar(&m.Host, "standalone-host", 0, "hosts outside clusters in each datacenter")
	flag.IntVar(&m.Datastore, "ds", m.Datastore, "datastores")
	flag.IntVar(&m.Pool, "pool", m.Pool, "resource pools in each cluster")
	flag.IntVar(&m.Machine, "vm", m.Machine, "machines in each resource pool")
	flag.IntVar(&m.DelayConfig.Delay, "delay", 0, "milliseconds that every call takes")
	taskMs := flag.String("task-delay", "", "how long tasks run: Name:milliseconds,... such as CloneVm, PowerOn, RelocateVm, ReconfigVm, Destroy, Rename")
	version := flag.String("version", "8.0.2", "the version it claims to be")
	ca := flag.String("ca", "", "write the CA's certificate (PEM) to this file")
	with := flag.Int("with", 0, "end when the process of this number has ended")
	flag.Parse()

	m.ServiceContent.About.Version, m.ServiceContent.About.ApiVersion = *version, *version+".0"
	if err := m.Create(); err != nil {
		log.Fatal(err)
	}
	defer m.Remove()
	var err error
	if simulator.TaskDelay.MethodDelay, err = delays(*taskMs); err != nil {
		log.Fatal(err)
	}
	if m.Service.TLS, err = serverTLS(*ca); err != nil {
		log.Fatal(err)
	}
	m.Map().Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		snapshots(ctx, method)
		return machines(ctx, method)
	}
	shareCollector(m.Map(), m.ServiceContent.PropertyCollector)
	m.Service.RegisterEndpoints = true
	m.Service.Listen = &url.URL{Host: *listen, User: url.UserPassword(*user, *password)}
	server := m.Service.NewServer()
	addSolver(m.Service)
	l := newLab(compareVersions(keepBits(server.Config.Handler, m.Map()), m.Map()), m.Service)
	server.Config.Handler = l
	counted := server.Config.ConnState
	server.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateNew {
			l.connected()
		}
		if counted != nil {
			counted(c, s)
		}
	}
	fmt.Println("ready", server.URL.Host)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Second):
			if *with > 0 && syscall.Kill(*with, 0) == syscall.ESRCH {
				return
			}
		}
	}
}
