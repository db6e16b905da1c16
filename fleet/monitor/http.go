package monitor

import (
	"net/http"
	"strconv"
	"time"
)

// evidenceRoute is where agents send bundles.
const evidenceRoute = "POST /v1/hosts/{id}/evidence"

// outcomes are what the statuses of that route mean.
var outcomes = map[int]string{
	http.StatusAccepted: "accepted", http.StatusUnauthorized: "unknown sender", http.StatusForbidden: "forbidden", http.StatusNotFound: "unknown machine", http.StatusConflict: "conflict",
	http.StatusLengthRequired: "invalid", http.StatusServiceUnavailable: "busy", http.StatusRequestEntityTooLarge: "too large", http.StatusUnprocessableEntity: "invalid", http.StatusTooManyRequests: "too many",
}

// Count counts requests by the route that served them, and never by what was asked.
func (m *Monitor) Count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		s := &status{ResponseWriter: w}
		defer func() { // a handler that panics has answered nothing
			route := r.Pattern // which the mux has filled in
			if route == "" {
				route = "none"
			}
			if s.code == 0 {
				s.code = http.StatusOK
			}
			m.requests.WithLabelValues(route, strconv.Itoa(s.code)).Inc()
			m.httpSeconds.WithLabelValues(route).Observe(time.Since(began).Seconds())
			if route != evidenceRoute {
				return
			}
			outcome, ok := outcomes[s.code]
			if !ok {
				outcome = "error"
			}
			m.evidence.WithLabelValues(outcome).Inc()
		}()
		next.ServeHTTP(s, r)
	})
}

// status notes what was answered.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	if s.code == 0 && code >= 200 {
		s.code = code
	}
	s.ResponseWriter.WriteHeader(code)
}

func (s *status) Write(b []byte) (int, error) {
	if s.code == 0 {
		s.code = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the writer beneath.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
