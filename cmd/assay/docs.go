package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-hw/assay/docs"
	"github.com/assay-hw/assay/docs/site"
	"github.com/assay-hw/assay/report"
)

func newDocsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "docs [PAGE]",
		Short: "Read the documentation: here, in a browser, or as files",
		Long: `Without an argument it lists the pages; with the name of one, or the end of its
name, it prints the page. "serve" shows all of them in a browser of this machine,
"export" writes them as a site that needs no server, "find" looks for a word, and
"sample" writes the machines, manifest and keys that the pages use, so that
everything in them can be tried. Nothing is fetched.`,
		Example: `  assay docs
  assay docs technician
  assay docs find "option ROM"
  assay docs serve
  assay docs sample try-assay`,
		Args: atMost(1),
	}
	cmd.RunE = func(c *cobra.Command, args []string) error {
		s, err := documentation(c.Root())
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return listPages(env, s)
		}
		p, err := s.Page(args[0])
		if errors.Is(err, site.ErrNoPage) {
			return usage("no page %q; assay docs lists them, and assay docs find %s looks for the word", args[0], args[0])
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(env.stdout, p.Source)
		return err
	}
	cmd.AddCommand(newDocsServe(env), newDocsExport(env), newDocsFind(env), newDocsSample(env), newDocsBoot(env), newDocsMessages(env))
	return cmd
}

// documentation is the pages, with those that are made of the commands.
func documentation(root *cobra.Command) (*site.Site, error) {
	return site.New(docs.Files, map[string]string{"commands": commandPage(root)})
}

func listPages(env *environment, s *site.Site) error {
	section := ""
	for _, p := range s.Pages {
		if p.Section == "" {
			continue
		}
		if p.Section != section {
			section = p.Section
			fmt.Fprintf(env.stdout, "%s\n", section)
		}
		fmt.Fprintf(env.stdout, "  %-28s %s\n", p.Name, p.Title)
	}
	_, err := fmt.Fprintln(env.stdout, "\nassay docs PAGE prints one, assay docs serve shows them in a browser.")
	return err
}

func newDocsFind(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "find WORD...", Short: "Find the lines of all pages that hold some words", Example: `  assay docs find lockdown`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := documentation(c.Root())
			if err != nil {
				return err
			}
			found := s.Find(strings.Join(args, " "))
			for _, l := range found {
				fmt.Fprintf(env.stdout, "%s:%d: %.160s\n", l.Page, l.Number, report.Plain(l.Text))
			}
			if len(found) == 0 {
				return usage("no page has %q", strings.Join(args, " "))
			}
			return nil
		},
	}
}

func newDocsExport(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "export DIR", Short: "Write the documentation as a static site", Example: `  assay docs export site/`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := documentation(c.Root())
			if err != nil {
				return err
			}
			if err := s.Write(args[0]); err != nil {
				return &exitError{exitIO, err}
			}
			_, err = fmt.Fprintf(env.stderr, "wrote %d pages; open %s/index.html\n", len(s.Pages), strings.TrimSuffix(args[0], "/"))
			return err
		},
	}
}

func newDocsServe(env *environment) *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "serve", Short: "Show the documentation in a browser of this machine", Example: `  assay docs serve`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := documentation(c.Root())
			if err != nil {
				return err
			}
			h, err := s.Handler()
			if err != nil {
				return err
			}
			return serveDocs(env, listen, h)
		},
	}
	addListen(cmd.Flags(), &listen)
	return cmd
}

func newDocsMessages(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "messages", Short: "Print the texts of reports, for a translation",
		Long: `Prints the catalogue: the fixed texts of reports for people (text, plain, markdown, html,
the page of check), of explain and of all codes, as one JSON object of English texts
and their translations, which are empty. With ASSAY_MESSAGES it has the translations
of that file, so that a new version shows what is missing. What a finding says of its
own case (why, wanted, found) is not in it, nor are the lines for programs.`,
		Example: `  assay docs messages > words.json
  ASSAY_MESSAGES=words.json assay verify server.evidence.zip --golden golden.signed.json --trust roots/`,
		Args: exactly(0),
		RunE: func(*cobra.Command, []string) error { return asJSON(env.stdout, report.Messages(env.words)) },
	}
}

func addListen(fs *pflag.FlagSet, to *string) {
	fs.StringVar(to, "listen", "127.0.0.1:8480", "address to listen on; port 0 takes a free one")
}

// serveDocs serves until it is interrupted.
func serveDocs(env *environment, listen string, h http.Handler) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return &exitError{exitIO, err}
	}
	fmt.Fprintf(env.stdout, "documentation on http://%s/ (interrupt to end)\n", l.Addr())
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return &exitError{exitIO, err}
	}
	return nil
}
