package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/outfile"
	"github.com/assay-hw/assay/report"
	"github.com/assay-hw/assay/report/html"
	"github.com/assay-hw/assay/report/lines"
)

// outputOptions are the flags of every command that reports.
type outputOptions struct {
	format  string
	file    string
	quiet   bool
	noColor bool
	all     bool
	ear     earOptions
}

var resultFormats = []string{"text", "plain", "json", "markdown", "html", "sarif", "junit", "ocsf", "cef", "prometheus", "github", earFormat}

func (o *outputOptions) addFlags(fs *pflag.FlagSet, formats ...string) {
	fs.StringVar(&o.format, "format", "text", "output format: "+strings.Join(formats, ", "))
	fs.StringVarP(&o.file, "output", "o", "", "write to this file instead of standard output")
	fs.BoolVar(&o.quiet, "quiet", false, "print nothing; the exit code tells")
	fs.BoolVar(&o.noColor, "no-color", false, "no colours, as with the variable NO_COLOR")
	fs.BoolVar(&o.all, "all", false, "show informational entries and long lists in full")
}

func (o *outputOptions) check(formats ...string) error {
	if !slices.Contains(formats, o.format) {
		return usage("--format %s: want one of %s", o.format, strings.Join(formats, ", "))
	}
	return nil
}

// addResultFlags are those of commands that print a verdict.
func (o *outputOptions) addResultFlags(fs *pflag.FlagSet) {
	o.addFlags(fs, resultFormats...)
	o.ear.addFlags(fs)
}

// write gives the bytes to standard output or, whole or not at all, to a file.
func (o *outputOptions) write(env *environment, b []byte) error {
	if o.file == "" || o.file == "-" {
		if o.quiet {
			return nil
		}
		if _, err := env.stdout.Write(b); err != nil {
			return &exitError{exitIO, fmt.Errorf("write output: %w", err)}
		}
		return nil
	}
	return writeFile(o.file, b)
}

// writeFile replaces a file in one step, so that nobody reads half a report.
func writeFile(path string, b []byte) error {
	err := outfile.Write(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		return &exitError{exitIO, fmt.Errorf("write %s: %w", path, err)}
	}
	return nil
}

// style is how text looks here.
func (o *outputOptions) style(env *environment) report.Style {
	toTerminal := env.terminal && (o.file == "" || o.file == "-")
	return report.Style{Width: env.width, Color: toTerminal && !o.noColor && !env.noColor, All: o.all, Words: env.words}
}

// result writes a result in the chosen format and returns the verdict's exit
// code as an error.
func (o *outputOptions) result(env *environment, r *assay.Result) error {
	var b bytes.Buffer
	var err error
	switch o.format {
	case "json":
		err = report.JSON(&b, r)
	case "markdown":
		err = report.Markdown(&b, r, env.words)
	case "html":
		err = html.Write(&b, r, env.words)
	case "plain":
		err = report.Spoken(&b, r, o.style(env))
	case "sarif":
		err = report.SARIF(&b, r)
	case "junit":
		err = report.JUnit(&b, r)
	case "ocsf":
		err = lines.OCSF(&b, r, programVersion())
	case "cef":
		err = lines.CEF(&b, r, programVersion())
	case "prometheus":
		err = lines.Prometheus(&b, r)
	case "github":
		err = lines.GitHub(&b, r)
	case earFormat:
		err = o.ear.write(&b, r)
	default:
		err = report.Text(&b, r, o.style(env))
	}
	if err != nil {
		return err
	}
	if err := o.write(env, b.Bytes()); err != nil {
		return err
	}
	return verdictError(r.Verdict)
}

func verdictError(v assay.Verdict) error {
	if code := v.ExitCode(); code != 0 {
		return &exitError{code: code}
	}
	return nil
}

// asJSON is the one way in which commands print JSON.
func asJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// nowOption is --now: the time that a verdict is for.
type nowOption struct{ text string }

func (n *nowOption) addFlag(fs *pflag.FlagSet) {
	fs.StringVar(&n.text, "now", "", "appraise as at this time (RFC 3339) instead of the clock's")
}

func (n *nowOption) time(env *environment) (time.Time, error) {
	if n.text == "" {
		return env.now().UTC().Truncate(time.Second), nil
	}
	t, err := time.Parse(time.RFC3339, n.text)
	if err != nil {
		return time.Time{}, usage("--now %s: want a time like 2026-01-15T12:00:00Z", n.text)
	}
	return t.UTC(), nil
}

// limitOption is --limit NAME=N.
type limitOption struct{ values []string }

func (l *limitOption) addFlag(fs *pflag.FlagSet) {
	fs.StringArrayVar(&l.values, "limit", nil, "raise a limit of the evidence format: artifact=BYTES, bundle=BYTES, entries=N or expansion=N")
}

func (l *limitOption) limits() (evidence.Limits, error) {
	var out evidence.Limits
	for _, v := range l.values {
		name, num, _ := strings.Cut(v, "=")
		var n int64
		if _, err := fmt.Sscanf(num, "%d", &n); err != nil || n <= 0 || n > 1<<40 {
			return out, usage("--limit %s: want NAME=N with a positive number", v)
		}
		switch name {
		case "artifact":
			out.ArtifactBytes = n
		case "bundle":
			out.BundleBytes = n
		case "entries":
			out.Entries = int(n)
		case "expansion":
			out.Expansion = n
		default:
			return out, usage("--limit %s: want artifact, bundle, entries or expansion", v)
		}
	}
	return out, nil
}

// readInput reads one input file, bounded.
func readInput(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, unreadable(fmt.Errorf("%s: %w", path, err))
	}
	if int64(len(b)) > limit {
		return nil, unreadable(fmt.Errorf("%s: offset %d: exceeds the limit of %d bytes", path, limit, limit))
	}
	return b, nil
}
