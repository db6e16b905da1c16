package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/assay-hw/assay/fleet/monitor"
)

const lastRequests = 20 * time.Second

// serveUntil serves until ctx ends, and then lets requests finish that began. drain
// is called before nothing new is accepted.
func serveUntil(ctx context.Context, srv *http.Server, l net.Listener, drain func()) error {
	// Requests outlive ctx: one that is being answered when the process is told to end
	// is answered.
	base, hurry := context.WithCancel(context.WithoutCancel(ctx))
	defer hurry()
	srv.BaseContext = func(net.Listener) context.Context { return base }
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		drain()
		last, cancel := context.WithTimeout(base, lastRequests)
		defer cancel()
		done <- srv.Shutdown(last)
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}

// serveMetrics serves figures and health where the API is not, until ctx ends.
func (o *serveOptions) serveMetrics(ctx context.Context, env *environment, m *monitor.Monitor) error {
	l, err := net.Listen("tcp", o.metrics)
	if err != nil {
		return fmt.Errorf("--metrics: %w", err)
	}
	fmt.Fprintf(env.stdout, "metrics on http://%s/metrics\n", l.Addr())
	srv := &http.Server{Handler: m.Handler(), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	return serveUntil(ctx, srv, l, func() { time.Sleep(o.drain) }) // health is told as long as anything is served
}
