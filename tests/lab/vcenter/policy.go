// Copyright (c) 2026, poolwright.virt contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"slices"
	"strings"

	"github.com/vmware/govmomi/pbm"
	pbmmethods "github.com/vmware/govmomi/pbm/methods"
	pbmsim "github.com/vmware/govmomi/pbm/simulator"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// The simulator has every storage policy fit every datastore. Here one that wants tags fits the datastores that have one of them for a name,
// as if each were tagged with its own; one that wants none fits them all.

const tags = "http://www.vmware.com/storage/tag"

// solver takes the place of the simulator's own.
type solver struct {
	types.ManagedObjectReference
}

// addSolver is for a service whose endpoints are registered.
func addSolver(s *simulator.Service) {
	r := simulator.NewRegistry()
	r.Namespace, r.Path = pbm.Namespace, pbm.Path
	r.Put(&solver{types.ManagedObjectReference{Type: "PbmPlacementSolver", Value: "placementSolver"}})
	s.RegisterSDK(r)
	// A real one says only what there was in the version that the client speaks; pyVmomi does not know this one.
	all := profileManager(s.Context).PbmQueryProfileDetails(&pbmtypes.PbmQueryProfileDetails{}).(*pbmmethods.PbmQueryProfileDetailsBody)
	for _, policy := range all.Res.Returnval {
		if p, ok := policy.Profile.(*pbmtypes.PbmCapabilityProfile); ok {
			p.K8sCompliantName = ""
		}
	}
}

func profileManager(ctx *simulator.Context) *pbmsim.ProfileManager {
	return ctx.For(pbm.Path).Map.Get(types.ManagedObjectReference{Type: "PbmProfileProfileManager", Value: "ProfileManager"}).(*pbmsim.ProfileManager)
}

func (s *solver) PbmCheckCompatibility(ctx *simulator.Context, req *pbmtypes.PbmCheckCompatibility) soap.HasFault {
	body := &pbmmethods.PbmCheckCompatibilityBody{}
	asked := &pbmtypes.PbmRetrieveContent{ProfileIds: []pbmtypes.PbmProfileId{req.Profile}}
	found := profileManager(ctx).PbmRetrieveContent(asked).(*pbmmethods.PbmRetrieveContentBody)
	if found.Fault_ != nil {
		body.Fault_ = found.Fault_
		return body
	}
	wanted, any := wantedTags(found.Res.Returnval[0])
	body.Res = &pbmtypes.PbmCheckCompatibilityResponse{}
	for _, hub := range req.HubsToSearch {
		one := pbmtypes.PbmPlacementCompatibilityResult{Hub: hub}
		datastore, ok := ctx.For(vim25.Path).Map.Get(types.ManagedObjectReference{Type: hub.HubType, Value: hub.HubId}).(mo.Entity)
		if !ok || (!any && !slices.Contains(wanted, datastore.Entity().Name)) {
			said := "it lacks the tag " + strings.Join(wanted, " or ")
			one.Error = []types.LocalizedMethodFault{{Fault: &pbmtypes.PbmCompatibilityCheckFault{Hub: hub}, LocalizedMessage: said}}
		}
		body.Res.Returnval = append(body.Res.Returnval, one)
	}
	return body
}

// wantedTags returns those of a policy, and whether it does without any.
func wantedTags(policy pbmtypes.BasePbmProfile) ([]string, bool) {
	p, ok := policy.(*pbmtypes.PbmCapabilityProfile)
	if !ok {
		return nil, true
	}
	said, ok := p.Constraints.(*pbmtypes.PbmCapabilitySubProfileConstraints)
	if !ok {
		return nil, true
	}
	var wanted []string
	any := true
	for _, sub := range said.SubProfiles {
		for _, capability := range sub.Capability {
			if capability.Id.Namespace != tags {
				continue
			}
			any = false
			for _, constraint := range capability.Constraint {
				for _, property := range constraint.PropertyInstance {
					if set, ok := property.Value.(pbmtypes.PbmCapabilityDiscreteSet); ok {
						for _, value := range set.Values {
							if tag, ok := value.(string); ok {
								wanted = append(wanted, tag)
							}
						}
					}
				}
			}
		}
	}
	return wanted, any
}
