package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/firmware/unpack"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/fleet/controllers"
	"github.com/assay-hw/assay/fleet/monitor"
	"github.com/assay-hw/assay/fleet/oidc"
	"github.com/assay-hw/assay/fleet/postgres"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/fleet/sqlite"
	"github.com/assay-hw/assay/fleet/web"
)

func newFleetCommand(env *environment) *cobra.Command {
	return group("fleet", "Audit many machines on a schedule",
		"  assay fleet serve --data /var/lib/assay --trust roots/\n  assay fleet enroll --server https://assay.example:8443 --token-file token --pin ...",
		newFleetServeCommand(env), newFleetEnrollCommand(env), newFleetAgentCommand(env), newFleetAuditCommand(env), newFleetStatusCommand(env), newFleetOutliersCommand(env),
		newFleetExportCommand(env), newFleetImportCommand(env), newFleetTicketCommand(env), newFleetDocumentsCommand(env), newFleetMachineCommand(env), newFleetExceptionCommand(env),
		newFleetLogCommand(env), newFleetLoginCommand(env), newFleetLogoutCommand(), newFleetPeopleCommand(env), newFleetTokenCommand(env), newFleetAlertsCommand(env))
}

// serveOptions are the flags of fleet serve.
type serveOptions struct {
	listen, data, store, role string
	blobs                     string
	trust, ekRoots            []string
	cert, key                 string
	selfSigned                bool
	interval, grace, timeout  time.Duration
	workers, queue, remember  int
	enrolments                int64
	policy, controllers       string
	signingKey, oidc          string
	alerts, metrics           string
	drain                     time.Duration

	monitor *monitor.Monitor
	wrap    func(http.Handler) http.Handler // traces requests
}

func newFleetServeCommand(env *environment) *cobra.Command {
	var opt serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the fleet's server",
		Long: `Runs the server: machines enrol and send evidence, it is judged, and what moved is
told. Without --store everything is in --data, in one file and a directory of
evidence, and one process works on it. With --store postgres://... any number of
processes do, each as api, worker, scheduler or all.

Without TLS the server listens on this machine only. --tls makes a key of its own,
whose pin it prints for the agents; --tls-cert and --tls-key bring one.

On an empty store the first start makes an account "admin" and prints its password.`,
		Example: `  assay fleet serve --data /var/lib/assay --trust roots/
  assay fleet serve --listen :8443 --tls --data /var/lib/assay --trust roots/
  assay fleet serve --store postgres://assay@db/assay --role worker --data /var/lib/assay --trust roots/`,
		Args: exactly(0),
	}
	cmd.RunE = func(*cobra.Command, []string) error { return opt.run(env) }
	fs := cmd.Flags()
	fs.StringVar(&opt.listen, "listen", "127.0.0.1:8440", "address to listen on")
	fs.StringVar(&opt.data, "data", "assay-fleet", "directory of the store and of evidence")
	fs.StringVar(&opt.store, "store", "", "postgres://... instead of a file in --data")
	fs.StringVar(&opt.blobs, "blobs", "", "s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION for evidence, instead of a directory in --data; credentials as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	fs.StringVar(&opt.role, "role", "all", "api, worker (judges, and one of all that run schedules; scheduler is the same) or all")
	fs.StringVar(&opt.cert, "tls-cert", "", "certificate chain of the server, PEM")
	fs.StringVar(&opt.key, "tls-key", "", "private key of the server, PEM")
	fs.BoolVar(&opt.selfSigned, "tls", false, "use a key that is made and kept in --data")
	fs.DurationVar(&opt.interval, "interval", 24*time.Hour, "time between two audits of a machine")
	fs.DurationVar(&opt.grace, "grace", 0, "how late a machine may be before it is stale; default a quarter of the interval")
	fs.DurationVar(&opt.timeout, "timeout", 0, "time to judge one bundle, default six minutes; what a worker had in hand when it died is done by another one after twice that")
	fs.IntVar(&opt.workers, "workers", 0, "bundles judged at the same time; default one for each processor")
	fs.StringVar(&opt.policy, "policy", "default", "default, strict or inventory: for machines that no signed policy is for")
	fs.StringVar(&opt.controllers, "controllers", "", "file with names and passwords of management controllers, for machines without an agent")
	fs.StringVar(&opt.oidc, "oidc", "", "file that names a provider of identities (OpenID Connect), for people to log in to the pages")
	fs.StringVar(&opt.signingKey, "signing-key", "", "key that signs results and checkpoints (default: made and kept in --data)")
	fs.IntVar(&opt.queue, "queue", 0, "bundles that wait, from which on none is taken in; default 50000")
	fs.IntVar(&opt.remember, "remember", 0, "machines whose last result is kept in memory, at about 32 kB, so that an audit without news is cheap; default 2000")
	fs.Int64Var(&opt.enrolments, "enrolments", 0, "machines that one token may enrol in a day; default 5000")
	addTrustFlag(fs, &opt.trust)
	fs.StringArrayVar(&opt.ekRoots, "ek-roots", nil, "file or directory of PEM certificates of TPM makers; repeatable")
	fs.StringVar(&opt.alerts, "alerts", "", "file that says who is told what moved (YAML); the same for all processes")
	fs.StringVar(&opt.metrics, "metrics", "", "address to serve /metrics, /healthz and /readyz on without a password, such as 127.0.0.1:9440")
	fs.DurationVar(&opt.drain, "drain", 2*time.Second, "time between saying that it is not ready and accepting nothing new, when it is told to end")
	return cmd
}

func (o *serveOptions) run(env *environment) error {
	if !slices.Contains([]string{"api", "worker", "scheduler", "all"}, o.role) {
		return usage("--role %s: want api, worker, scheduler or all", o.role)
	}
	if o.role != "all" && o.store == "" {
		return usage("--role %s: a store in a file has one process; several need --store postgres://...", o.role)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, closeStore, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer closeStore()
	wrap, span, flush, err := tracing(ctx)
	if err != nil {
		return &exitError{exitIO, err}
	}
	if flush != nil {
		o.wrap, s.Span = wrap, span
		defer func() { _ = flush(context.WithoutCancel(ctx)) }() // spans that nobody takes are lost
	}
	if err := firstAccount(ctx, env, s); err != nil {
		return &exitError{exitIO, err}
	}
	var wg sync.WaitGroup
	errs := make(chan error, 3)
	if o.role != "api" {
		wg.Go(func() { errs <- s.Work(ctx, o.workers); stop() })
	}
	if o.role == "api" || o.role == "all" {
		wg.Go(func() { errs <- o.listenAndServe(ctx, env, s); stop() })
	} else {
		tellReady()
	}
	if o.metrics != "" {
		wg.Go(func() { errs <- o.serveMetrics(ctx, env, o.monitor); stop() })
	}
	wg.Go(func() { <-ctx.Done(); o.monitor.Stop() })
	wg.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	if err != nil {
		return &exitError{exitIO, err}
	}
	return nil
}

// open opens the store and makes the server of it.
func (o *serveOptions) open(ctx context.Context, env *environment) (*server.Server, func(), error) {
	cfg := server.Config{Interval: o.interval, Grace: o.grace, Timeout: o.timeout, MaxQueue: o.queue, Remember: o.remember, Enrolments: o.enrolments, Decoders: unpack.Decoders()}
	var err error
	if cfg.EKRoots, cfg.EKBelow, err = tpmMakers(o.ekRoots); err != nil {
		return nil, nil, err
	}
	if cfg.EKDER, err = loadCertificates(o.ekRoots); err != nil {
		return nil, nil, err
	}
	if cfg.Trust, err = loadTrust(o.trust); err != nil {
		return nil, nil, err
	}
	if cfg.Alerts, err = openAlerts(env, o.alerts); err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return nil, nil, &exitError{exitIO, err}
	}
	if o.blobs != "" {
		cfg.Blobs, err = blob.OpenS3(ctx, o.blobs)
	} else {
		cfg.Blobs, err = blob.OpenDirectory(filepath.Join(o.data, "evidence"))
	}
	if err != nil {
		return nil, nil, &exitError{exitIO, err}
	}
	if strings.HasPrefix(o.store, "postgres://") || strings.HasPrefix(o.store, "postgresql://") {
		cfg.Store, err = postgres.Open(ctx, o.store)
	} else if o.store != "" {
		return nil, nil, usage("--store %s: want postgres://...", o.store)
	} else {
		cfg.Store, err = sqlite.Open(ctx, filepath.Join(o.data, "fleet.db"))
	}
	if err != nil {
		return nil, nil, &exitError{exitIO, err}
	}
	o.monitor = monitor.New(cfg.Store, programVersion(), env.now)
	cfg.Store = o.monitor.Store()
	if cfg.Alerts != nil {
		cfg.Alerts.Count = o.monitor.Alert
	}
	if err := o.more(&cfg); err != nil {
		return nil, nil, err
	}
	s := server.New(cfg)
	return s, func() { _ = s.Store.Close() }, nil
}

// more adds what the server judges and signs with.
func (o *serveOptions) more(cfg *server.Config) error {
	if _, ok := assay.BuiltInPolicy(o.policy); !ok {
		return usage("--policy %s: want default, strict or inventory; others are given to the server as signed tickets", o.policy)
	}
	cfg.Policy = o.policy
	if o.controllers != "" {
		accounts, err := controllers.Read(o.controllers)
		if err != nil {
			return unreadable(err)
		}
		cfg.AskController = accounts.Ask
	}
	name := o.signingKey
	if name == "" {
		name = filepath.Join(o.data, "signing.key")
		if err := newSigningKey(name); err != nil {
			return &exitError{exitIO, err}
		}
	}
	raw, err := readInput(name, 4096)
	if err != nil {
		return err
	}
	if cfg.Key, err = auditlog.ReadKey(string(raw)); err != nil {
		return unreadable(fmt.Errorf("%s: %w", name, err))
	}
	return nil
}

// newSigningKey makes a key where there is none. Of processes that start together
// one makes it.
func newSigningKey(name string) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	secret, err := auditlog.NewKey(rand.Reader, "assay-fleet")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".signing-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = fmt.Fprintln(f, secret); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	// Whole or not at all, and never in place of one that is there.
	if err := os.Link(f.Name(), name); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// firstAccount makes somebody who can make others.
func firstAccount(ctx context.Context, env *environment, s *server.Server) error {
	var people int
	err := s.Store.View(ctx, func(r fleet.Reader) error {
		all, err := r.Accounts()
		for _, a := range all {
			if a.Role != "" {
				people++
			}
		}
		return err
	})
	if err != nil || people > 0 {
		return err
	}
	password, err := s.FirstPassword(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "first account: admin, password %s (shown once)\n", password)
	return nil
}

func (o *serveOptions) listenAndServe(ctx context.Context, env *environment, s *server.Server) error {
	cfg, pin, err := o.tls()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	scheme := "http"
	if cfg != nil {
		l, scheme = tls.NewListener(l, cfg), "https"
	} else if a, ok := l.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		_ = l.Close()
		return fmt.Errorf("--listen %s: without TLS only this machine may ask; use --tls, or --tls-cert and --tls-key", o.listen)
	}
	mux := http.NewServeMux()
	a := api.New(mux, s, programVersion())
	a.Ready = o.monitor.Ready
	if err := web.Handle(ctx, mux, s, a, programVersion()); err != nil {
		return err
	}
	if o.oidc != "" {
		provider, err := oidc.Read(o.oidc)
		if err != nil {
			return err
		}
		if err := oidc.Handle(ctx, mux, s, provider); err != nil {
			return err
		}
	}
	handler := o.monitor.Count(mux)
	if o.wrap != nil {
		handler = o.wrap(handler)
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	fmt.Fprintf(env.stdout, "serving on %s://%s\n", scheme, l.Addr())
	if pin != "" {
		fmt.Fprintf(env.stdout, "pin for agents: %s\n", pin)
	}
	tellReady()
	return serveUntil(ctx, srv, l, func() {
		o.monitor.Stop()
		time.Sleep(o.drain) // who sends requests here hears of it, and goes elsewhere
		a.Drain()
	})
}
