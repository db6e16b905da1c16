package monitor

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/assay-hw/assay/fleet"
)

// figures asks the store when it is scraped, and not more often than it has to.
type figures struct {
	m *Monitor

	mu     sync.Mutex
	asked  time.Time
	counts fleet.Counts
	jobs   map[fleet.Kind]map[string]int64
	err    error
}

// fresh is how long an answer of the store is good for: each costs it a scan.
const fresh = 10 * time.Second

var (
	machinesDesc = prometheus.NewDesc("assay_machines", "Machines by state.", []string{"state"}, nil)
	oldestDesc   = prometheus.NewDesc("assay_oldest_attestation_age_seconds", "Age of the attestation of the machine that was attested the longest ago.", nil, nil)
	jobsDesc     = prometheus.NewDesc("assay_jobs", "Jobs that are not done, by kind and status: waiting, running, failed, given up.", []string{"kind", "status"}, nil)
	upDesc       = prometheus.NewDesc("assay_store_up", "Whether the store answers.", nil, nil)
)

// Describe lists what is collected.
func (f *figures) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{machinesDesc, oldestDesc, jobsDesc, upDesc} {
		to <- d
	}
}

// Collect asks the store. When it does not answer there are no figures of machines:
// old ones would look as if all were well.
func (f *figures) Collect(to chan<- prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.m.now()
	if f.asked.IsZero() || now.Sub(f.asked) >= fresh || now.Before(f.asked) || f.err != nil {
		f.ask(now)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if f.err != nil {
		gauge(upDesc, 0)
		return
	}
	gauge(upDesc, 1)
	for _, s := range []fleet.State{fleet.Enrolled, fleet.Pass, fleet.Review, fleet.Fail, fleet.Inconclusive, fleet.Error, fleet.Stale, fleet.Retired} {
		gauge(machinesDesc, float64(f.counts.ByState[s]), string(s))
	}
	if !f.counts.Oldest.IsZero() {
		gauge(oldestDesc, now.Sub(f.counts.Oldest).Seconds())
	}
	for _, k := range []fleet.Kind{fleet.Appraise, fleet.Collect, fleet.Schedule, fleet.Prunes, fleet.Alert, fleet.Remind} {
		for _, s := range []string{"waiting", "running", "failed", "given up"} {
			gauge(jobsDesc, float64(f.jobs[k][s]), string(k), s)
		}
	}
}

func (f *figures) ask(now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	f.asked = now
	f.err = f.m.store.View(ctx, func(r fleet.Reader) (err error) {
		f.counts, err = r.Count()
		return err
	})
	if f.err == nil {
		f.jobs, f.err = f.m.store.Jobs(ctx)
	}
	if f.err != nil {
		f.m.storeErrors.WithLabelValues("view").Inc()
	}
}
