package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/timestamp"
	"github.com/assay-hw/assay/report"
)

// maxStampBytes bounds queries and responses of time stamping authorities.
const maxStampBytes = 64 << 10

// timestampOptions are the flags of golden timestamp.
type timestampOptions struct {
	request         bool
	response, query string
	number          int
	trust           []string
	now             nowOption
	file            string
}

func newGoldenTimestampCommand(env *environment) *cobra.Command {
	var o timestampOptions
	cmd := &cobra.Command{
		Use:   "timestamp FILE",
		Short: "Ask for a time stamp on a signature, or put one beside it (RFC 3161)",
		Long: `A time stamp shows that a signature is older than the end of its signer's certificate,
so that the manifest can still be verified afterwards. Nothing here uses a network:

  1. --request writes a query; send it to a time stamping authority, for example with
     curl -H 'Content-Type: application/timestamp-query' --data-binary @q.tsq URL -o r.tsr
  2. --response takes the answer, checks that it is over a signature of the manifest,
     and writes the manifest with the token beside that signature

Whoever verifies needs the root of the authority in the directory tsa beside the roots
that --trust names. With --trust, step 2 checks the token as a verifier will.`,
		Example: "  assay golden timestamp golden.signed.json --request -o q.tsq\n" +
			"  assay golden timestamp golden.signed.json --response r.tsr --query q.tsq --trust roots/ -o golden.stamped.json",
		Args: exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error { return o.run(env, args[0]) }
	fs := cmd.Flags()
	fs.BoolVar(&o.request, "request", false, "write a query for a signature, with a nonce")
	fs.IntVar(&o.number, "signature", 0, "which signature to ask for, from 1 (default the only one without a time stamp)")
	fs.StringVar(&o.response, "response", "", "the authority's answer to put beside the signature")
	fs.StringVar(&o.query, "query", "", "the query that the answer must fit, with its nonce")
	fs.StringArrayVar(&o.trust, "trust", nil, "file or directory of roots, with tsa/, to check the answer with; repeatable")
	o.now.addFlag(fs)
	fs.StringVarP(&o.file, "output", "o", "", "write to this file instead of standard output")
	return cmd
}

func (o *timestampOptions) run(env *environment, path string) error {
	switch {
	case o.request == (o.response != ""):
		return usage("give one of --request and --response")
	case o.request && (o.query != "" || len(o.trust) > 0):
		return usage("--query and --trust go with --response")
	case !o.request && o.number != 0:
		return usage("--signature goes with --request; an answer says itself what it is over")
	}
	raw, err := readInput(path, maxManifestBytes)
	if err != nil {
		return err
	}
	e := &manifest.Envelope{}
	if err := e.Read(raw); err != nil {
		return unreadable(fmt.Errorf("%s: %w", path, err))
	}
	var out []byte
	if o.request {
		out, err = o.ask(path, e)
	} else {
		out, err = o.take(env, path, e)
	}
	if err != nil {
		return err
	}
	return (&outputOptions{file: o.file}).write(env, out)
}

func (o *timestampOptions) ask(path string, e *manifest.Envelope) ([]byte, error) {
	n := o.number - 1
	if o.number == 0 {
		var open []int
		for i := range e.Signatures() {
			_, _, stamps, err := e.Signature(i)
			if err != nil {
				return nil, unreadable(fmt.Errorf("%s: %w", path, err))
			}
			if stamps == 0 {
				open = append(open, i)
			}
		}
		if len(open) != 1 {
			return nil, usage("%s: %d of %d signatures have no time stamp; choose one with --signature", path, len(open), e.Signatures())
		}
		n = open[0]
	}
	if n < 0 || n >= e.Signatures() {
		return nil, usage("--signature %d: %s has %d", o.number, path, e.Signatures())
	}
	sig, _, _, err := e.Signature(n)
	if err != nil {
		return nil, unreadable(fmt.Errorf("%s: %w", path, err))
	}
	q, err := timestamp.Request(sig)
	if err != nil {
		return nil, &exitError{exitInternal, err}
	}
	return q, nil
}

func (o *timestampOptions) take(env *environment, path string, e *manifest.Envelope) ([]byte, error) {
	answer, err := readInput(o.response, maxStampBytes)
	if err != nil {
		return nil, err
	}
	var query []byte
	if o.query != "" {
		if query, err = readInput(o.query, maxStampBytes); err != nil {
			return nil, err
		}
	}
	token, err := timestamp.Token(answer, query)
	if err != nil {
		return nil, unreadable(fmt.Errorf("%s: %w", o.response, err))
	}
	check, checked, err := o.checker(env)
	if err != nil {
		return nil, err
	}
	var why error
	for i := range e.Signatures() {
		sig, signer, _, err := e.Signature(i)
		if err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", path, err))
		}
		at, by, err := check(token, sig)
		if err != nil {
			why = errors.Join(why, fmt.Errorf("signature %d (%s): %w", i+1, signer, err))
			continue
		}
		fmt.Fprintf(env.stderr, "signature %d, %s, was seen %s by %s\n", i+1, report.Plain(signer), at.UTC().Format(time.RFC3339), report.Plain(by))
		if !checked {
			fmt.Fprintln(env.stderr, "not checked: the authority; give --trust with its root in the directory tsa")
		}
		out, err := e.Stamp(i, token)
		if err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", path, err))
		}
		return out, nil
	}
	return nil, unreadable(fmt.Errorf("%s: proves nothing about %s: %w", o.response, path, why))
}

// checker checks tokens as a verifier with this trust does, or, without, only
// that they are whole.
func (o *timestampOptions) checker(env *environment) (check func(token, signed []byte) (time.Time, string, error), checked bool, err error) {
	if len(o.trust) == 0 {
		return timestamp.Check, false, nil
	}
	now, err := o.now.time(env)
	if err != nil {
		return nil, false, err
	}
	t, err := loadTrust(o.trust)
	if err != nil {
		return nil, false, err
	}
	roots, lists := t.TimeAuthorities()
	if len(roots) == 0 {
		return nil, false, usage("--trust: no root of a time stamping authority there; put it in the directory tsa beside the roots")
	}
	v := timestamp.New(roots, lists)
	return func(token, signed []byte) (time.Time, string, error) { return v.Proven(token, signed, now) }, true, nil
}
