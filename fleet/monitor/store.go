package monitor

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/server"
)

// Store is the store that is watched, and counts what is asked of it.
func (m *Monitor) Store() fleet.Store { return &counted{m.store, m} }

type counted struct {
	fleet.Store
	m *Monitor
}

func (c *counted) View(ctx context.Context, f func(fleet.Reader) error) error {
	began := time.Now()
	err := c.Store.View(ctx, f)
	c.m.transaction("view", began, err)
	return err
}

func (c *counted) Update(ctx context.Context, f func(fleet.Tx) error) error {
	began := time.Now()
	err := c.Store.Update(ctx, f)
	c.m.transaction("update", began, err)
	return err
}

// transaction counts one. What is not there, and what the server refuses, are
// answers of the store; what a caller no longer waits for is no error of it.
func (m *Monitor) transaction(kind string, began time.Time, err error) {
	m.storeSeconds.WithLabelValues(kind).Observe(time.Since(began).Seconds())
	if _, refused := errors.AsType[*server.Refusal](err); err == nil || refused {
		return
	}
	for _, answer := range []error{fleet.ErrNotFound, fleet.ErrExists, server.ErrUnknown, context.Canceled} {
		if errors.Is(err, answer) {
			return
		}
	}
	m.storeErrors.WithLabelValues(kind).Inc()
}

// stuckAfter is how much longer than its time a handler may run. One is told to end
// then; only one that does not listen runs on.
const stuckAfter = 3 * time.Minute

func (c *counted) Work(ctx context.Context, w fleet.Workers) error {
	m := c.m
	m.mu.Lock()
	m.slots, m.patient = w.Parallel, w.Timeout+stuckAfter
	if m.slots <= 0 {
		m.slots = runtime.GOMAXPROCS(0)
	}
	if w.Timeout <= 0 {
		m.patient = 2*time.Minute + stuckAfter
	}
	m.mu.Unlock()
	handlers := map[fleet.Kind]fleet.Handler{}
	for kind, h := range w.Handlers {
		handlers[kind] = m.handler(h)
	}
	giveUp := w.GiveUp
	w.Handlers = handlers
	if giveUp != nil {
		w.GiveUp = func(j fleet.Job, cause error) func(fleet.Tx) error {
			m.jobs.WithLabelValues(string(j.Kind), "given up").Inc()
			return giveUp(j, cause)
		}
	}
	return c.Store.Work(ctx, w)
}

// handler counts what a handler does.
func (m *Monitor) handler(h fleet.Handler) fleet.Handler {
	return func(ctx context.Context, j fleet.Job) (func(fleet.Tx) error, error) {
		done := m.begin(j)
		outcome := "failed" // a handler that panics does not come back
		defer func() { done(outcome) }()
		effect, err := h(ctx, j)
		if err != nil {
			return nil, err
		}
		outcome = "done"
		if effect == nil {
			return nil, nil
		}
		counted := false
		return func(tx fleet.Tx) error {
			seen := &results{Tx: tx}
			err := effect(seen)
			if err == nil && !counted { // the store may do it again
				counted = true
				for _, v := range seen.verdicts {
					m.appraisals.WithLabelValues(v).Inc()
				}
			}
			return err
		}, nil
	}
}

// begin notes that a job runs.
func (m *Monitor) begin(j fleet.Job) (done func(outcome string)) {
	began := time.Now()
	m.mu.Lock()
	id := m.next
	m.next++
	if j.Queue == "" || j.Queue == "default" {
		m.running[id] = m.now()
	}
	m.mu.Unlock()
	return func(outcome string) {
		m.mu.Lock()
		delete(m.running, id)
		m.mu.Unlock()
		m.jobSeconds.WithLabelValues(string(j.Kind)).Observe(time.Since(began).Seconds())
		m.jobs.WithLabelValues(string(j.Kind), outcome).Inc()
	}
}

// results notes the verdicts of results that are stored.
type results struct {
	fleet.Tx
	verdicts []string
}

func (r *results) PutResult(x *fleet.Result) error {
	err := r.Tx.PutResult(x)
	if err == nil {
		r.verdicts = append(r.verdicts, string(x.Verdict))
	}
	return err
}
