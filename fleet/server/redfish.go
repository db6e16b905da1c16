package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/manifest/redfish"
)

// Controller is a management controller that tells of a machine without an agent.
type Controller struct {
	Name    string `json:"name"`
	Site    string `json:"site,omitempty"`
	Lot     string `json:"lot,omitempty"`
	Address string `json:"address" doc:"https://HOST of the management controller"`
	System  string `json:"system,omitempty" doc:"id of the system, where a controller has several"`
	Pin     string `json:"pin,omitempty" doc:"SHA-256 of its certificate; without one that of the first contact is kept"`
}

// controllerPolicy is how machines without an agent are judged where no signed
// policy says so: every declared part has to be listed as declared, and whatever
// else the manifest declares, boot and firmware, has to be shown as for any
// machine, which a controller cannot. That it lists everything it cannot show
// either, so that this is not asked; the level L1 of the results says what they
// rest on.
func controllerPolicy() *assay.Policy {
	return &assay.Policy{ID: "controller", Require: []assay.Requirement{
		assay.RequireManifest, assay.RequireParts, assay.RequireQuote, assay.RequireLog, assay.RequireFirmware,
	}}
}

const controllerFact = "controller"

// Controllers are slow and cost little: they are not asked by the workers that
// judge.
const (
	controllerQueue = "controllers"
	atOnce          = 16
)

// Enlist makes a machine known that allows no agent. What it is, its controller
// says when it is asked first.
func (s *Server) Enlist(ctx context.Context, by Who, c Controller) (*fleet.Host, error) {
	if !by.May(fleet.Operator) {
		return nil, refuse(Forbidden, "an operator may add a machine")
	}
	if s.AskController == nil {
		return nil, refuse(Invalid, "this server asks no management controllers (fleet serve --controllers)")
	}
	if err := checkController(c.Address, c.Pin); err != nil {
		return nil, err
	}
	id, err := s.id("h-")
	if err != nil {
		return nil, err
	}
	now := s.now()
	h := &fleet.Host{
		ID: id, Name: c.Name, Site: c.Site, Lot: c.Lot, Mode: fleet.ByRedfish, Address: c.Address, System: c.System, Pin: strings.ToLower(c.Pin),
		Interval: s.Interval, NextDue: now, EnrolledAt: now, State: fleet.Enrolled, Since: now,
	}
	if u, err := url.Parse(c.Address); err == nil && h.Name == "" {
		h.Name = u.Host
	}
	return h, s.Store.Update(ctx, func(tx fleet.Tx) error {
		others, err := tx.Sharing(controllerFact, controllerOf(h), 1)
		if err != nil {
			return err
		}
		if len(others) > 0 {
			return refuse(Conflict, "the controller %s is that of %s", c.Address, others[0].Host)
		}
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: by.Name, Action: "enlist", Subject: id, Detail: c.Address}); err != nil {
			return err
		}
		return errors.Join(tx.PutHost(h), tx.PutFacts(id, hostFacts(h)))
	})
}

func checkController(address, pin string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return refuse(Invalid, "address %.100q: want https://HOST, without name or password in it", address)
	}
	if b, err := hex.DecodeString(pin); err != nil || len(b) != 0 && len(b) != sha256.Size {
		return refuse(Invalid, "the pin is no SHA-256 in hexadecimal")
	}
	return nil
}

// Repin has the certificate of a controller learned anew, or says which it is.
func (s *Server) Repin(ctx context.Context, by Who, host, pin string) error {
	if !by.May(fleet.Operator) {
		return refuse(Forbidden, "an operator may accept another certificate")
	}
	return s.Store.Update(ctx, func(tx fleet.Tx) error {
		h, err := tx.Host(host)
		if err != nil {
			return found("the machine", err)
		}
		if h.Mode != fleet.ByRedfish {
			return refuse(Invalid, "the machine is not asked through a controller")
		}
		if err := checkController(h.Address, pin); err != nil {
			return err
		}
		now := s.now()
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: by.Name, Action: "repin", Subject: host, Detail: h.Pin + " to " + pin}); err != nil {
			return err
		}
		h.Pin, h.NextDue = strings.ToLower(pin), now
		return tx.PutHost(h)
	})
}

// askControllers has machines without an agent asked when they are due, and
// notices who was not heard of. It returns how many there were.
func (s *Server) askControllers(ctx context.Context) (int, error) {
	n := 0
	err := s.Store.Update(ctx, func(tx fleet.Tx) error {
		now := s.now()
		due, err := tx.Due(now, now.Add(s.Grace), fleet.ByRedfish, batch)
		if err != nil {
			return err
		}
		n = len(due)
		for i := range due {
			h := &due[i]
			if now.Sub(later(h.LastSeen, h.EnrolledAt)) >= h.Interval+s.Grace {
				if err := s.silent(tx, h, now); err != nil {
					return err
				}
			}
			if err := tx.Enqueue(fleet.Job{Kind: fleet.Collect, Key: h.ID, Queue: controllerQueue}); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// collect asks the controller of one machine, and takes in what it tells.
func (s *Server) collect(ctx context.Context, j fleet.Job) (func(fleet.Tx) error, error) {
	var h *fleet.Host
	err := s.Store.View(ctx, func(r fleet.Reader) (err error) {
		h, err = r.Host(j.Key)
		return err
	})
	if err != nil || h.Mode != fleet.ByRedfish || h.State == fleet.Retired {
		return nil, err
	}
	if s.AskController == nil {
		return nil, errors.New("this process asks no management controllers")
	}
	if !s.sites.enter(h.Site) {
		return nil, siteBusy{h.Site}
	}
	defer s.sites.leave(h.Site)
	b, pin, err := s.AskController(ctx, h)
	if errors.Is(err, ErrOtherController) {
		return func(tx fleet.Tx) error { return s.otherController(tx, h.ID, err) }, nil
	}
	if err != nil {
		return nil, err
	}
	once := make([]byte, 16) // two answers that are the same are two
	if _, err := io.ReadFull(s.Random, once); err != nil {
		return nil, err
	}
	digest, err := s.keep(ctx, h.ID, once, b)
	if err != nil {
		return nil, err
	}
	now := s.now()
	e := &fleet.Evidence{Digest: digest, Host: h.ID, Received: now, Asked: now, Blob: digest, Status: fleet.Accepted}
	return func(tx fleet.Tx) error {
		h, err := tx.Host(h.ID)
		if err != nil {
			return err
		}
		h.LastSeen, h.NextDue = now, now.Add(h.Interval)
		if h.Pin == "" {
			h.Pin = pin
		}
		return errors.Join(tx.PutHost(h), tx.PutEvidence(e), tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: digest}))
	}, nil
}

// sites counts which controllers are being asked. Those of one site, which may all
// hang together, never take the last places of a process.
type sites struct {
	mu   sync.Mutex
	busy map[string]int
}

const ofOneSite = atOnce - atOnce/4

func (s *sites) enter(site string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[site] >= ofOneSite {
		return false
	}
	if s.busy == nil {
		s.busy = map[string]int{}
	}
	s.busy[site]++
	return true
}

func (s *sites) leave(site string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[site]--; s.busy[site] == 0 {
		delete(s.busy, site)
	}
}

// siteBusy has the queue come back to a job.
type siteBusy struct{ site string }

func (b siteBusy) Error() string {
	return fmt.Sprintf("%d controllers of site %q are being asked", ofOneSite, b.site)
}

// Later is when to try again.
func (siteBusy) Later() time.Duration { return 5 * time.Second }

// ErrOtherController is wrapped where a controller shows another certificate than
// the pinned one: it was replaced, or somebody is between (G18).
var ErrOtherController = errors.New("another certificate than the pinned one")

// otherController marks a machine whose controller shows another certificate. It
// was not asked anything, so that nobody learned a password.
func (s *Server) otherController(tx fleet.Tx, id string, cause error) error {
	h, err := tx.Host(id)
	if err != nil {
		return err
	}
	x := finding.New(finding.TransportIdentity, "fleet:controller:"+h.Address)
	x.Severity, x.Confidence = finding.High, finding.Strong
	x.Want, x.Got = "sha256:"+h.Pin, "another certificate"
	x.Why = "The management controller shows another certificate than before: " + cause.Error() + ". It was not logged in to. When it was replaced, have its certificate learned anew (assay fleet machine repin)."
	x.Seal()
	now := s.now()
	return s.stand(tx, h, x, fleet.Error, now)
}

// inventoryOf reads what a bundle says of a machine's parts. A controller words
// parts in its own way, so that a manifest for such a machine is drafted from what
// controllers tell (golden import).
func inventoryOf(h *fleet.Host, b *evidence.Bundle) (*bom.Inventory, error) {
	if h.Mode != fleet.ByRedfish {
		return bom.Read(b), nil
	}
	return redfish.Inventory(b, h.System)
}

// itself names a machine without an agent by what its controller told first. When
// that becomes another machine, somebody exchanged one of the two.
func itself(h *fleet.Host, inv *bom.Inventory) []finding.Finding {
	if h.Mode != fleet.ByRedfish {
		return nil
	}
	var c fleet.Chassis
	for i := range inv.Parts {
		if p := &inv.Parts[i]; p.Class == bom.System {
			c = fleet.Chassis{Manufacturer: p.Identity.Maker, Product: p.Identity.Model, Serial: p.Identity.Serial, UUID: p.Attributes["uuid"]}
		}
	}
	switch {
	case h.Identity.Chassis == fleet.Chassis{}:
		h.Identity.Chassis = c
		return nil
	case h.Identity.Chassis == c:
		return nil
	}
	x := finding.New(finding.RebindAttempt, "fleet:host:"+h.ID)
	x.Severity, x.Confidence = finding.High, finding.Strong
	x.Want, x.Got = fmt.Sprintf("%s %s %s", h.Identity.Product, h.Identity.Serial, h.Identity.UUID), fmt.Sprintf("%s %s %s", c.Product, c.Serial, c.UUID)
	x.Why = "The controller at this address tells of another machine than at first."
	return []finding.Finding{x}
}

func controllerOf(h *fleet.Host) string { return strings.TrimSpace(h.Address + " " + h.System) }

// hostFacts are what only this machine may have, whatever it sends.
func hostFacts(h *fleet.Host) []fleet.Fact {
	out := identityFacts(h.Identity)
	if h.Address != "" {
		out = append(out, fleet.Fact{Kind: controllerFact, Value: controllerOf(h)})
	}
	return out
}
