package web

import (
	"context"
	"net/http"
)

func (p *pages) handleJobs(ctx context.Context, mux *http.ServeMux) error { return nil }
