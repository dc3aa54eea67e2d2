// Copyright (c) 2026, poolwright.virt contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"io"
	"maps"
	"math/rand"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// What a test may ask for, beside the API itself:
//
//	GET    /lab/calls            {"total": n, "connections": n, "methods": {"CloneVM_Task": n, ...}, "sessions": n}
//	                             "sessions": those logged in, with the client told so, and not logged out; uploads count by the start of their path, as "PUT /folder"
//	DELETE /lab/calls            count calls and connections from zero
//	POST   /lab/faults           {"method": "PowerOnVM_Task", "fault": "ResourceInUse", "object": "*", "times": 1, "skip": 0}
//	                             the call is answered with this fault of VIM's, or of the service of storage policies
//	POST   /lab/chaos            {"method": "*", "action": "drop-before", "rate": 0.1, "times": 0, "skip": 0, "seed": 1, "ms": 0}
//	                             drop-before  the connection closes, nothing was done
//	                             drop-after   all was done, and the connection closes instead of the answer
//	                             unavailable  HTTP 503, nothing was done
//	                             not-found    HTTP 404, as from some other server
//	                             full         HTTP 507, nothing was done: how a full datastore turns an upload down
//	                             slow         the call is held up for ms, or until the rules are forgotten
//	                             truncated    all was done, and the connection closes in the middle of the answer
//	                             unreadable   the answer says of one machine's configuration that it could not be read
//	DELETE /lab/chaos            forget all of these, and the faults; uploads that were held up end before the answer
//	POST   /lab/sessions/expire  every session there is now has ended
//
// "skip" lets so many calls pass first, "times": 0 has no limit, "rate" is drawn from random numbers of the rule's own "seed".

// The simulator leaves two properties empty that a real vCenter always fills, and names a manager as the entity of a task on files or
// disks: pyVmomi reads neither. It has the fault that an account without the privilege gets for storage policies in the other service's namespace.
var likeReal = strings.NewReplacer(
	"<faultToleranceState></faultToleranceState>", "<faultToleranceState>notConfigured</faultToleranceState>",
	"<recordReplayState></recordReplayState>", "<recordReplayState>inactive</recordReplayState>",
	`<entity type="VirtualDiskManager">virtualDiskManager</entity>`, "", `<entity type="VirtualDiskManager">VirtualDiskManager</entity>`, "",
	`<entity type="FileManager">FileManager</entity>`, "", `<PbmFaultNoPermissionFault xmlns="urn:vim25"`, `<PbmFaultNoPermissionFault xmlns="urn:pbm"`)

type rule struct {
	Method string  `json:"method"`
	Action string  `json:"action"`
	Rate   float64 `json:"rate"`
	Times  int     `json:"times"`
	Skip   int     `json:"skip"`
	Seed   int64   `json:"seed"`
	Ms     int     `json:"ms"`
	random *rand.Rand
}

type lab struct {
	next    http.Handler
	service *simulator.Service

	mu          sync.Mutex
	methods     map[string]int
	connections int
	rules       []*rule
	seen, dead  map[string]bool // session cookies
	calmed      chan struct{}   // closed when all rules are forgotten
	uploads     sync.WaitGroup  // those that are held up, or were and have not ended
}

func newLab(next http.Handler, service *simulator.Service) *lab {
	return &lab{next: next, service: service, methods: map[string]int{}, seen: map[string]bool{}, dead: map[string]bool{}, calmed: make(chan struct{})}
}

func (l *lab) connected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections++
}

func (l *lab) control(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "GET /lab/calls":
		total := 0
		for n := range maps.Values(l.methods) {
			total += n
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"total": total, "connections": l.connections, "methods": l.methods, "sessions": len(l.seen) - len(l.dead)})
	case "DELETE /lab/calls":
		l.methods, l.connections = map[string]int{}, 0
	case "POST /lab/faults":
		l.addFault(w, r)
	case "POST /lab/chaos":
		c := &rule{Method: "*", Rate: 1}
		if err := json.NewDecoder(r.Body).Decode(c); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.random = rand.New(rand.NewSource(c.Seed))
		l.rules = append(l.rules, c)
	case "DELETE /lab/chaos":
		l.rules = nil
		close(l.calmed)
		l.calmed = make(chan struct{})
		l.service.ClearFaultRules()
	case "POST /lab/sessions/expire":
		maps.Copy(l.dead, l.seen)
	default:
		http.NotFound(w, r)
	}
}

func (l *lab) addFault(w http.ResponseWriter, r *http.Request) {
	var f struct {
		Method, Fault, Object string
		Times, Skip           int
	}
	f.Object = "*"
	if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	kind, ok := types.TypeFunc()(f.Fault)
	if !ok {
		kind, ok = types.TypeFunc()("pbm:" + f.Fault)
	}
	if ok {
		made := reflect.New(kind)
		if fault, ok := made.Interface().(types.BaseMethodFault); ok {
			fillReferences(made.Elem())
			if p, ok := fault.(*pbmtypes.PbmFaultNoPermission); ok {
				p.MissingPrivileges = []pbmtypes.PbmFaultNoPermissionEntityPrivileges{{PrivilegeIds: []string{"StorageProfile.View"}}}
			}
			l.service.AddFaultRule(&simulator.FaultInjectionRule{
				MethodName: f.Method, ObjectType: "*", ObjectName: f.Object, Probability: 1, FaultType: simulator.FaultTypeCustom,
				Fault: fault, Message: "injected " + f.Fault, MaxCount: f.Times, SkipCount: f.Skip, Enabled: true})
			return
		}
	}
	http.Error(w, f.Fault+" is no fault of VIM's or PBM's", http.StatusBadRequest)
}

// fillReferences has the objects that a fault must name be some: pyVmomi does not read an answer where they are empty.
func fillReferences(fault reflect.Value) {
	for i := range fault.NumField() {
		if f := fault.Field(i); f.Type() == reflect.TypeFor[types.ManagedObjectReference]() {
			kind := "Folder"
			if fault.Type().Field(i).Name == "Task" {
				kind = "Task"
			}
			f.Set(reflect.ValueOf(types.ManagedObjectReference{Type: kind, Value: "injected"}))
		}
	}
}

// pick returns the first rule that fires for this call.
func (l *lab) pick(method string) *rule {
	for i, c := range l.rules {
		if c.Method != "*" && c.Method != method {
			continue
		}
		if c.Skip > 0 {
			c.Skip--
			continue
		}
		if c.random.Float64() >= c.Rate {
			continue
		}
		if c.Times > 0 {
			if c.Times--; c.Times == 0 {
				l.rules = append(l.rules[:i:i], l.rules[i+1:]...)
			}
		}
		return c
	}
	return nil
}

// methodOf names the first element inside the SOAP body.
func methodOf(body []byte) string {
	d, inBody := xml.NewDecoder(bytes.NewReader(body)), false
	for {
		t, err := d.Token()
		if err != nil {
			return "?"
		}
		if s, ok := t.(xml.StartElement); ok {
			if inBody {
				return s.Name.Local
			}
			inBody = s.Name.Local == "Body"
		}
	}
}

// nameOf is what a request is counted by.
func nameOf(r *http.Request) (string, error) {
	if r.Method != http.MethodPost || !(strings.HasPrefix(r.URL.Path, "/sdk") || r.URL.Path == pbm.Path) {
		return r.Method + " /" + strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 2)[0], nil
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return methodOf(body), err
}

func (l *lab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/lab/") {
		l.control(w, r)
		if r.Method == http.MethodDelete && r.URL.Path == "/lab/chaos" {
			// What was held up has then had its effect: a file does not appear later, when a test looks at what is there.
			l.uploads.Wait()
		}
		return
	}
	// A real one answers at both; the simulator at the shorter.
	r.URL.Path = strings.Replace(r.URL.Path, "/pbm/sdk", pbm.Path, 1)
	name, err := nameOf(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fires, calmed := l.admit(name, r)
	if strings.HasPrefix(r.URL.Path, "/folder/") && !l.knows(r) {
		http.Error(w, "no session", http.StatusUnauthorized)
		return
	}
	action := ""
	if fires != nil {
		action = fires.Action
	}
	switch action {
	case "drop-before":
		panic(http.ErrAbortHandler)
	case "unavailable":
		http.Error(w, "injected", http.StatusServiceUnavailable)
		return
	case "not-found":
		http.NotFound(w, r)
		return
	case "full":
		http.Error(w, "injected", http.StatusInsufficientStorage)
		return
	case "slow":
		if r.Method == http.MethodPut {
			l.uploads.Add(1)
			defer l.uploads.Done()
		}
		select {
		case <-time.After(time.Duration(fires.Ms) * time.Millisecond):
		case <-calmed:
		}
	}
	if r.Method != http.MethodPost && action == "" {
		l.next.ServeHTTP(w, r)
		return
	}
	answer := &buffered{header: http.Header{}, status: http.StatusOK}
	l.next.ServeHTTP(answer, r)
	// Of a session whose cookie got lost on the way nobody can log out: it counts for none.
	if action != "drop-after" || name != "Login" {
		l.note(answer, name, r)
	}
	if action == "drop-after" {
		panic(http.ErrAbortHandler)
	}
	if action == "unreadable" {
		answer.hide()
	}
	answer.send(w, r, action == "truncated")
}

// admit counts the call, takes its cookie away if that session has ended, and returns the rule that fires, with what is closed once it is calm.
func (l *lab) admit(name string, r *http.Request) (*rule, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.methods[name]++
	if c, err := r.Cookie("vmware_soap_session"); err == nil && l.dead[c.Value] {
		r.Header.Del("Cookie")
	}
	if r.URL.Path == pbm.Path {
		l.endInEnvelope(r)
	}
	return l.pick(name), l.calmed
}

// endInEnvelope does the same for the service of storage policies, which has the cookie in the envelope.
func (l *lab) endInEnvelope(r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	for cookie := range l.dead {
		body = bytes.ReplaceAll(body, []byte(cookie), []byte("ended"))
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
}

// knows tells whether the request comes with a session's cookie; admit has taken away those that ended. The simulator itself never asks.
func (l *lab) knows(r *http.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := r.Cookie("vmware_soap_session")
	return err == nil && l.seen[c.Value]
}

// note remembers the sessions that begin and end.
func (l *lab) note(answer *buffered, name string, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range (&http.Response{Header: answer.header}).Cookies() {
		if c.Name == "vmware_soap_session" {
			l.seen[c.Value] = true
		}
	}
	if c, err := r.Cookie("vmware_soap_session"); err == nil && name == "Logout" && answer.status == http.StatusOK && l.seen[c.Value] {
		l.dead[c.Value] = true
	}
}

type buffered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *buffered) Header() http.Header         { return b.header }
func (b *buffered) Write(p []byte) (int, error) { return b.body.Write(p) }
func (b *buffered) WriteHeader(status int)      { b.status = status }

// hide has the first object of the answer lack a property.
func (b *buffered) hide() {
	const missing = `<missingSet><path>config</path><fault><fault xsi:type="HostCommunication"></fault>` +
		`<localizedMessage>injected</localizedMessage></fault></missingSet></objects>`
	body := strings.Replace(b.body.String(), "</objects>", missing, 1)
	b.body.Reset()
	b.body.WriteString(body)
}

// To make a new one takes longer than to pack most answers.
var packers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return z
}}

func pack(body []byte) []byte {
	var packed bytes.Buffer
	z := packers.Get().(*gzip.Writer)
	defer packers.Put(z)
	z.Reset(&packed)
	_, _ = z.Write(body)
	_ = z.Close()
	return packed.Bytes()
}

// send passes the answer on, packed where the client takes that, as a real one does.
func (b *buffered) send(w http.ResponseWriter, r *http.Request, truncated bool) {
	body := []byte(likeReal.Replace(b.body.String()))
	maps.Copy(w.Header(), b.header)
	w.Header().Del("Content-Length")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && b.header.Get("Content-Encoding") == "" {
		body = pack(body)
		w.Header().Set("Content-Encoding", "gzip")
	}
	w.WriteHeader(b.status)
	if truncated {
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}
