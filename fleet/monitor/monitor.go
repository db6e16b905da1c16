// Package monitor tells how a fleet's server is: figures for Prometheus, and whether
// it is ready. It names no machine: figures are by state, kind, route and sink, so
// that their number does not grow with the fleet.
//
// That the figures look well says nothing of a machine that is not in them.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/assay-hw/assay/fleet"
)

// Monitor watches one process.
type Monitor struct {
	store    fleet.Store
	now      func() time.Time
	registry *prometheus.Registry
	stopping atomic.Bool

	storeSeconds *prometheus.HistogramVec
	storeErrors  *prometheus.CounterVec
	jobSeconds   *prometheus.HistogramVec
	jobs         *prometheus.CounterVec
	appraisals   *prometheus.CounterVec
	evidence     *prometheus.CounterVec
	requests     *prometheus.CounterVec
	httpSeconds  *prometheus.HistogramVec
	alerts       *prometheus.CounterVec

	mu      sync.Mutex
	running map[int64]time.Time // handlers of the default queue, by number, since when
	next    int64
	slots   int           // how many may run; 0 when this process does no jobs
	patient time.Duration // after which one that runs is stuck
}

// seconds are the buckets of durations, from a query to a large bundle.
var seconds = []float64{.005, .02, .1, .5, 1, 2, 5, 10, 30, 60, 120}

// New watches a store.
func New(store fleet.Store, version string, now func() time.Time) *Monitor {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "assay_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "assay_" + name, Help: help, Buckets: seconds}, labels)
	}
	m := &Monitor{
		store: store, now: now, registry: prometheus.NewRegistry(), running: map[int64]time.Time{},
		storeSeconds: histogram("store_seconds", "Time of transactions.", "kind"),
		storeErrors:  counter("store_errors_total", "Transactions that the store could not do.", "kind"),
		jobSeconds:   histogram("job_seconds", "Time of jobs: an appraisal is one of kind appraise.", "kind"),
		jobs:         counter("jobs_total", "Jobs that this process did, that failed and will be tried again, and that were given up.", "kind", "outcome"),
		appraisals:   counter("appraisals_total", "Results by the verdict of the appraisal.", "verdict"),
		evidence:     counter("evidence_total", "Bundles that were sent, by what became of them.", "outcome"),
		requests:     counter("http_requests_total", "Requests by route and status.", "route", "code"),
		httpSeconds:  histogram("http_request_seconds", "Time of requests. Agents wait in GET /v1/hosts/{id}/audit.", "route"),
		alerts:       counter("alerts_total", "Attempts to tell a sink: sent, failed, given up.", "sink", "outcome"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "assay_build_info", Help: "The version that runs.", ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(m.storeSeconds, m.storeErrors, m.jobSeconds, m.jobs, m.appraisals, m.evidence, m.requests, m.httpSeconds, m.alerts, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &figures{m: m})
	return m
}

// Alert counts an attempt to tell a sink.
func (m *Monitor) Alert(sink, outcome string) { m.alerts.WithLabelValues(sink, outcome).Inc() }

// Stop has the process say that it is not ready, before it stops to serve.
func (m *Monitor) Stop() { m.stopping.Store(true) }

// errStopping is why a process that was told to end is not ready.
var errStopping = errors.New("it was told to end")

// Ready says why the process should not be asked: the store does not answer, its
// jobs hang, or it ends.
func (m *Monitor) Ready(ctx context.Context) error {
	if m.stopping.Load() {
		return errStopping
	}
	if n := m.stuck(); n > 0 {
		return fmt.Errorf("all %d jobs that may run hang", n)
	}
	err := m.store.View(ctx, func(r fleet.Reader) error { // something that costs nothing
		_, err := r.Account("nobody")
		return err
	})
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return errors.New("the store does not answer")
	}
	return nil
}

// stuck is how many handlers run for longer than any may, when nothing else can.
func (m *Monitor) stuck() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, since := range m.running {
		if m.now().Sub(since) > m.patient {
			n++
		}
	}
	if m.slots == 0 || n < m.slots {
		return 0
	}
	return n
}

const askTime = 5 * time.Second

// Handler serves the figures, and whether the process lives and is ready.
func (m *Monitor) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 2 * askTime, ErrorHandling: promhttp.ContinueOnError}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), askTime)
		defer cancel()
		if err := m.Ready(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}
