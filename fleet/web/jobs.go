package web

import (
	"context"
	"net/http"

	"github.com/assay-hw/assay/fleet"
)

// jobsPolicy lets the pages about jobs, which are not ours, set styles by script.
// Scripts are from here as everywhere.
const jobsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// handleJobs shows the jobs to operators, when the store can.
func (p *pages) handleJobs(ctx context.Context, mux *http.ServeMux) error {
	s, ok := p.server.Store.(interface {
		JobPages(ctx context.Context, prefix string) (http.Handler, error)
	})
	if !ok {
		return nil
	}
	h, err := s.JobPages(ctx, "/jobs")
	if err != nil {
		return err
	}
	p.jobs = true
	show := p.guarded(fleet.Operator, func(q *request) error {
		q.w.Header().Set("Content-Security-Policy", jobsPolicy)
		h.ServeHTTP(q.w, q.r.WithContext(q.ctx))
		return nil
	})
	mux.Handle("/jobs/", http.NewCrossOriginProtection().Handler(p.secured(show)))
	return nil
}
