//go:build otel

package main

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/trace"
)

// tracing sends spans of requests and of jobs to where the variables of
// OpenTelemetry say (OTEL_EXPORTER_OTLP_ENDPOINT and so on). Names of spans are
// routes and kinds of jobs, never what a machine sent.
func tracing(ctx context.Context) (wrap func(http.Handler) http.Handler, span func(context.Context, string) (context.Context, func(error)), end func(context.Context) error, err error) {
	out, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	p := trace.NewTracerProvider(trace.WithBatcher(out))
	tracer := p.Tracer("assay")
	wrap = func(h http.Handler) http.Handler {
		return otelhttp.NewHandler(h, "assay fleet", otelhttp.WithTracerProvider(p), otelhttp.WithPropagators(otel.GetTextMapPropagator()),
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return strings.TrimSpace(r.Method + " " + r.Pattern) }))
	}
	span = func(ctx context.Context, name string) (context.Context, func(error)) {
		ctx, s := tracer.Start(ctx, name)
		return ctx, func(err error) {
			if err != nil {
				s.SetStatus(codes.Error, "failed")
			}
			s.End()
		}
	}
	return wrap, span, p.Shutdown, nil
}
