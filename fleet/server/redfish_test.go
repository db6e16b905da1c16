package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/manifest"
	redfishtree "github.com/assay-hw/assay/manifest/redfish"
)

// bmc is what a management controller tells.
type bmc struct {
	serial, dimmPart string
	trouble          error
}

const (
	bmcAddress = "https://192.0.2.10"
	bmcPin     = "abababababababababababababababababababababababababababababababab"
)

// ask gives a bundle as package controllers makes it.
func (b *bmc) ask(_ context.Context, h *fleet.Host) (*evidence.Bundle, string, error) {
	if b.trouble != nil {
		return nil, "", b.trouble
	}
	files := map[string][]byte{}
	for p, doc := range b.tree() {
		files["redfish/192.0.2.10"+p+"/index.json"] = []byte(doc)
	}
	pin := bmcPin
	if h.Pin != "" {
		pin = ""
	}
	bundle, err := evidence.FromFiles(files, "controller", evidence.Limits{})
	return bundle, pin, err
}

func (s *site) bmc() *bmc {
	b := &bmc{serial: "BMC-1", dimmPart: "M393A2K43CB2"}
	s.AskController = b.ask
	return b
}

func (b *bmc) tree() map[string]string {
	const v1 = "/redfish/v1"
	return map[string]string{
		v1:                         `{"@odata.id":"/redfish/v1/","@odata.type":"#ServiceRoot.v1_5_0.ServiceRoot","Systems":{"@odata.id":"/redfish/v1/Systems"}}`,
		v1 + "/Systems":            `{"@odata.id":"/redfish/v1/Systems","@odata.type":"#C.C","Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}`,
		v1 + "/Systems/1":          `{"@odata.id":"/redfish/v1/Systems/1","@odata.type":"#ComputerSystem.v1_0_0.ComputerSystem","Id":"1","Manufacturer":"Assay Lab Computer Inc.","Model":"R1","SerialNumber":"` + b.serial + `","UUID":"11111111-2222-3333-4444-555555555555","Memory":{"@odata.id":"/redfish/v1/Systems/1/Memory"}}`,
		v1 + "/Systems/1/Memory":   `{"@odata.id":"/redfish/v1/Systems/1/Memory","@odata.type":"#C.C","Members":[{"@odata.id":"/redfish/v1/Systems/1/Memory/1"}]}`,
		v1 + "/Systems/1/Memory/1": `{"@odata.id":"/redfish/v1/Systems/1/Memory/1","@odata.type":"#Memory.v1_0_0.Memory","Id":"1","DeviceLocator":"DIMM_A1","Manufacturer":"Samsung","PartNumber":"` + b.dimmPart + `","SerialNumber":"12345678","CapacityMiB":16384,"Status":{"State":"Enabled"}}`,
	}
}

// listening hears which jobs a transaction begins.
type listening struct {
	fleet.Tx
	jobs []fleet.Job
}

func (l *listening) Enqueue(jobs ...fleet.Job) error {
	l.jobs = append(l.jobs, jobs...)
	return l.Tx.Enqueue(jobs...)
}

// collected has the machine collected and judged, as the jobs do.
func (s *site) collected(host string) (*fleet.Host, *fleet.Result) {
	t := s.t
	t.Helper()
	effect, err := s.collect(t.Context(), fleet.Job{Kind: fleet.Collect, Key: host})
	require.NoError(t, err)
	var next []fleet.Job
	s.update(func(tx fleet.Tx) error {
		x := &listening{Tx: tx}
		err := effect(x)
		next = x.jobs
		return err
	})
	for _, j := range next {
		effect, err = s.appraise(t.Context(), j)
		require.NoError(t, err)
		s.update(effect)
	}
	var h *fleet.Host
	var r *fleet.Result
	require.NoError(t, s.Store.View(t.Context(), func(rd fleet.Reader) (err error) {
		if h, err = rd.Host(host); err == nil && h.Result != "" {
			r, err = rd.Result(h.Result)
		}
		return err
	}))
	return h, r
}

func TestMachineWithoutAnAgent(t *testing.T) {
	s := newSite(t)
	_, err := s.Enlist(t.Context(), operator, Controller{Address: bmcAddress})
	require.Error(t, err, "a server that asks no controllers promises nothing")
	c := s.bmc()
	_, err = s.Enlist(t.Context(), Who{"vera", fleet.Viewer}, Controller{Address: bmcAddress})
	require.Error(t, err)
	for _, bad := range []string{"http://bmc.example", "https://user:pw@bmc.example", "bmc.example", "https://bmc.example/elsewhere"} {
		_, err = s.Enlist(t.Context(), operator, Controller{Address: bad})
		require.Error(t, err, bad)
	}
	h, err := s.Enlist(t.Context(), operator, Controller{Name: "node-9", Address: bmcAddress})
	require.NoError(t, err)
	_, err = s.Enlist(t.Context(), operator, Controller{Name: "again", Address: bmcAddress})
	require.Error(t, err, "one controller is one machine")

	n, err := s.askControllers(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	h, r := s.collected(h.ID)
	require.Equal(t, bmcPin, h.Pin, "the first contact is remembered")
	require.Equal(t, "BMC-1", h.Identity.Serial)
	require.Equal(t, fleet.Inconclusive, h.State, "there is no manifest: %v", r)
	require.True(t, h.LastAttested.IsZero(), "nothing was attested")
	require.Equal(t, s.clock.Add(s.Interval), h.NextDue)

	s.goldenOf(c, func(m *manifest.Manifest) {
		m.Components = append(m.Components, bom.Reference{ID: "ssd", Class: bom.Storage, Subject: "storage:1", Quantity: 1, Identity: bom.Identity{Maker: "Example", Model: "SSD-1"}})
	})
	s.clock = s.clock.Add(24 * time.Hour)
	h, r = s.collected(h.ID)
	require.Equal(t, fleet.Inconclusive, h.State, "a declared part that no controller lists is no pass")
	require.Contains(t, s.result(r), "not shown: 1 of 1 of storage")

	s.goldenOf(c, func(m *manifest.Manifest) { m.Version = 2 })
	s.clock = s.clock.Add(24 * time.Hour)
	h, r = s.collected(h.ID)
	require.Equal(t, fleet.Pass, h.State, s.result(r))
	require.Equal(t, "L1", h.Level)
	require.True(t, h.LastAttested.IsZero())

	c.dimmPart = "OTHER-PART"
	s.clock = s.clock.Add(24 * time.Hour)
	h, r = s.collected(h.ID)
	require.NotEqual(t, fleet.Pass, h.State)
	require.Contains(t, strings.Join(subjects(r.Changes, "finding"), "; "), "HW-", "the part is named")
	c.dimmPart = "M393A2K43CB2"

	c.serial = "BMC-2"
	s.clock = s.clock.Add(24 * time.Hour)
	h, r = s.collected(h.ID)
	require.Equal(t, fleet.Fail, h.State)
	require.Equal(t, finding.RebindAttempt, r.Fleet[0].Code, "another machine at the address")
	c.serial = "BMC-1"
}

// goldenOf drafts a manifest from what a controller tells, and signs it.
func (s *site) goldenOf(c *bmc, edit func(*manifest.Manifest)) {
	t := s.t
	t.Helper()
	h := &fleet.Host{Address: bmcAddress, Mode: fleet.ByRedfish}
	b, _, err := c.ask(t.Context(), h)
	require.NoError(t, err)
	inv, err := inventoryOf(h, b)
	require.NoError(t, err)
	refs, closures, _ := redfishtree.Draft(inv, false)
	closures[bom.Memory] = bom.Closed // the buyer's word: the controller lists all of it
	system, _ := inv.Part("system")
	m := &manifest.Manifest{
		ID: "r1", Version: 1, IssuedAt: labTime, Components: refs, Classes: closures,
		Environment: manifest.Environment{Manufacturer: system.Identity.Maker, Model: system.Identity.Model},
	}
	edit(m)
	raw, err := manifest.Encode(m)
	require.NoError(t, err)
	s.give(s.signed(raw))
}

// G18: another certificate at a controller's address is told, and no pass.
func TestG18OtherController(t *testing.T) {
	s := newSite(t)
	c := s.bmc()
	h, err := s.Enlist(t.Context(), operator, Controller{Name: "node-9", Address: bmcAddress, Pin: bmcPin})
	require.NoError(t, err)
	c.trouble = fmt.Errorf("%w: it is cdcd", ErrOtherController)
	h, _ = s.collected(h.ID)
	require.Equal(t, fleet.Error, h.State)
	var open []fleet.Open
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) (err error) {
		open, err = r.OpenFindings(fleet.FindingQuery{Host: h.ID})
		return err
	}))
	require.Equal(t, finding.TransportIdentity, open[0].Finding.Code)

	c.trouble = nil
	require.Error(t, s.Repin(t.Context(), Who{"vera", fleet.Viewer}, h.ID, ""))
	require.Error(t, s.Repin(t.Context(), operator, h.ID, "abcd"))
	require.NoError(t, s.Repin(t.Context(), operator, h.ID, ""))
	h, _ = s.collected(h.ID)
	require.Equal(t, bmcPin, h.Pin)
	require.NotEqual(t, fleet.Error, h.State)
}

// A controller that tells nothing is tried again, and its machine is stale in the
// end: never a pass.
func TestControllerThatDoesNotAnswer(t *testing.T) {
	s := newSite(t)
	c := s.bmc()
	h, err := s.Enlist(t.Context(), operator, Controller{Name: "node-9", Address: bmcAddress})
	require.NoError(t, err)
	c.trouble = errors.New("it tells nothing")
	_, err = s.collect(t.Context(), fleet.Job{Kind: fleet.Collect, Key: h.ID})
	require.Error(t, err)
	s.clock = s.clock.Add(s.Interval + s.Grace)
	_, err = s.schedule(t.Context(), fleet.Job{})
	require.NoError(t, err)
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) (err error) { h, err = r.Host(h.ID); return err }))
	require.Equal(t, fleet.Stale, h.State)
}

// Controllers of one site that all hang leave room for those of others.
func TestOneSiteHangs(t *testing.T) {
	s := newSite(t)
	s.clock = time.Now() // as the queue has it
	c := s.bmc()
	hang := make(chan struct{})
	s.AskController = func(ctx context.Context, h *fleet.Host) (*evidence.Bundle, string, error) {
		if h.Site == "far" {
			<-hang
		}
		return c.ask(ctx, h)
	}
	for i := range 3 * atOnce {
		h, err := s.Enlist(t.Context(), operator, Controller{Name: fmt.Sprint("far-", i), Site: "far", Address: fmt.Sprintf("https://198.51.100.%d", i)})
		require.NoError(t, err)
		s.update(func(tx fleet.Tx) error {
			return tx.Enqueue(fleet.Job{Kind: fleet.Collect, Key: h.ID, Queue: controllerQueue})
		})
	}
	near, err := s.Enlist(t.Context(), operator, Controller{Name: "near", Site: "near", Address: bmcAddress})
	require.NoError(t, err)
	s.update(func(tx fleet.Tx) error {
		return tx.Enqueue(fleet.Job{Kind: fleet.Collect, Key: near.ID, Queue: controllerQueue})
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Work(ctx, 0) }()
	require.Eventually(t, func() bool {
		var h *fleet.Host
		require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) (err error) { h, err = r.Host(near.ID); return err }))
		return h.Pin != ""
	}, time.Minute, 100*time.Millisecond)
	close(hang)
	stop()
	require.NoError(t, <-done)
}
