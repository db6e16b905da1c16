// Package server is what a fleet's server does: it enrols machines, takes in
// their evidence, has it judged, and notices who is late. It speaks no protocol;
// package api does.
package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/alert"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/manifest"
)

// Config is what a server works with.
type Config struct {
	Store    fleet.Store
	Blobs    blob.Store
	Trust    *manifest.Trust       // who may sign manifests
	EKRoots  []*ekcert.Certificate // of TPM makers
	EKBelow  []*ekcert.Certificate // certificates between them and TPMs
	EKDER    [][]byte              // the same, for appraisals
	Limits   evidence.Limits
	Decoders []firmware.Decoder
	Alerts   *alert.Alerts // nil tells nobody
	Key      *auditlog.Key // signs results and checkpoints of the audit log; nil signs none
	Policy   string        // built-in policy of machines for which there is no signed one; "" is "default"

	// AskController reads the management controller of a machine without an agent
	// and gives the SHA-256 of its certificate at first contact; nil asks none.
	AskController func(ctx context.Context, h *fleet.Host) (b *evidence.Bundle, pin string, err error)

	// Span begins a span of a job, and gives what ends it; nil traces nothing.
	Span func(ctx context.Context, name string) (context.Context, func(error))

	Interval time.Duration // between two audits of a machine; 0 is a day
	Answer   time.Duration // time to answer a challenge; 0 is ten minutes
	Grace    time.Duration // after which a machine that did not come is stale; 0 is a quarter of the interval

	Enrolments int64 // that one name may begin in a day; 0 is 5,000
	MaxQueue   int   // jobs that wait, from which on nothing is taken in; 0 is 50,000
	Remember   int   // machines whose last result is kept in memory, for which an audit without news is then cheap; 0 is 2,000

	Timeout time.Duration // of one job; 0 is six minutes, since a controller has five. What a process had in hand when it died is done by another one after twice that

	Now    func() time.Time // nil is the clock
	Random io.Reader        // nil is the system's
}

// Server serves one fleet.
type Server struct {
	Config
	library  library
	verifier assay.Verifier
	makers   *assay.Makers
	queue    backlog
	full     full
	sites    sites
	sessions struct {
		sync.Mutex
		key []byte
	}
}

// New completes a configuration.
func New(c Config) *Server {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	for d, other := range map[*time.Duration]time.Duration{&c.Interval: 24 * time.Hour, &c.Answer: 10 * time.Minute, &c.Timeout: 6 * time.Minute} {
		if *d <= 0 {
			*d = other
		}
	}
	if c.Policy == "" {
		c.Policy = "default"
	}
	if c.Grace <= 0 {
		c.Grace = c.Interval / 4
	}
	if c.Enrolments <= 0 {
		c.Enrolments = 5000
	}
	if c.MaxQueue <= 0 {
		c.MaxQueue = 50_000
	}
	if c.Remember <= 0 {
		c.Remember = 2000
	}
	return &Server{Config: c, verifier: assay.Verifier{Machines: c.Remember}, makers: &assay.Makers{Roots: c.EKRoots, Below: c.EKBelow}}
}

// Refusal is why the server does not do what was asked. Its text may be shown to
// whoever asked.
type Refusal struct {
	Reason string
	Status Status
	Retry  time.Duration // after which it may go better, 0 when it will not
}

// Status is the kind of a refusal.
type Status string

// The kinds of refusals.
const (
	Invalid   Status = "invalid"   // what was sent is not what it should be
	Forbidden Status = "forbidden" // who asks may not
	Unknown   Status = "unknown"   // of a machine or a challenge that is not known
	Conflict  Status = "conflict"  // with what is known
	TooMany   Status = "too many"  // of whoever asks
	Busy      Status = "busy"      // for everybody
)

func (r *Refusal) Error() string { return r.Reason }

func refuse(s Status, format string, args ...any) error {
	return &Refusal{Reason: fmt.Sprintf(format, args...), Status: s}
}

func (s *Server) now() time.Time { return s.Now().UTC().Truncate(time.Microsecond) }

// id makes an identifier that nobody guesses.
func (s *Server) id(prefix string) (string, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(s.Random, b); err != nil {
		return "", fmt.Errorf("random numbers: %w", err)
	}
	return prefix + hex.EncodeToString(b), nil
}

// Work does jobs until the context ends.
func (s *Server) Work(ctx context.Context, parallel int) error {
	w := fleet.Workers{
		Parallel: parallel,
		Handlers: map[fleet.Kind]fleet.Handler{fleet.Appraise: s.appraise, fleet.Schedule: s.schedule, fleet.Collect: s.collect, fleet.Prunes: s.prune},
		GiveUp:   s.giveUp,
		Queues:   map[string]int{controllerQueue: atOnce},
		Timeout:  s.Timeout,
		Rescue:   2 * s.Timeout,
		Periodic: map[fleet.Kind]time.Duration{fleet.Schedule: 10 * time.Second, fleet.Prunes: time.Hour},
	}
	s.Alerts.Work(s.Store, &w)
	for kind, h := range w.Handlers {
		w.Handlers[kind] = s.traced(kind, h)
	}
	return s.Store.Work(ctx, w)
}

// traced is a handler within a span of its kind.
func (s *Server) traced(kind fleet.Kind, h fleet.Handler) fleet.Handler {
	if s.Span == nil {
		return h
	}
	return func(ctx context.Context, j fleet.Job) (func(fleet.Tx) error, error) {
		ctx, end := s.Span(ctx, "job "+string(kind))
		effect, err := h(ctx, j)
		end(err)
		return effect, err
	}
}

// found turns a store's answer into a refusal.
func found(what string, err error) error {
	if errors.Is(err, fleet.ErrNotFound) {
		return refuse(Unknown, "%s is not known here", what)
	}
	return err
}

// stateOf is the state that a verdict gives.
func stateOf(v assay.Verdict) fleet.State {
	switch v {
	case assay.Pass:
		return fleet.Pass
	case assay.Review:
		return fleet.Review
	case assay.Inconclusive:
		return fleet.Inconclusive
	case assay.Fail:
		return fleet.Fail
	}
	return fleet.Error
}
