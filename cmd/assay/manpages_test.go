package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func manPages(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	var msg bytes.Buffer
	require.Zero(t, run([]string{"manpages", dir}, &environment{stdout: io.Discard, stderr: &msg, now: time.Now}), msg.String())
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	out := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		out[f] = string(b)
	}
	return out
}

// Every command that help lists has a page, with what a page is read for.
func TestEveryCommandHasAManualPage(t *testing.T) {
	pages := map[string]string{}
	for f, text := range manPages(t) {
		pages[strings.TrimSuffix(filepath.Base(f), ".1")] = text
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		page, ok := pages[manName(c)]
		require.True(t, ok, manName(c))
		for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"} {
			require.Contains(t, page, "\n.SH "+section+"\n", manName(c))
		}
		require.Contains(t, page, " 1 2023-11-14 ", manName(c))
		if c.Example != "" {
			require.Contains(t, page, "\n.SH EXAMPLES\n", manName(c))
		}
		for _, s := range shownCommands(c) {
			walk(s)
		}
	}
	walk(newRootCommand(&environment{stdout: io.Discard, stderr: io.Discard, now: time.Now}))
	require.Contains(t, pages, "assay-completion-bash")
	for _, section := range []string{"COMMANDS", "ENVIRONMENT", "FILES"} {
		require.Contains(t, pages["assay"], "\n.SH "+section+"\n")
	}
	require.Contains(t, pages["assay-golden-sign"], "ASSAY_KEY_PIN")
	require.NotContains(t, pages["assay-golden-show"], "ASSAY_KEY_PIN")
	require.Contains(t, pages["assay-golden-diff"], "Something differs")
	require.Equal(t, `\&.text\e \(aq`, roff(`.text\ '`), "text is no request")
}

// A variable that is read and that no page tells of would be known to nobody.
func TestManualPagesNameEveryVariable(t *testing.T) {
	read := regexp.MustCompile(`os\.(?:Getenv|LookupEnv)\("([A-Z_0-9]+)"\)|Variable += "([A-Z_0-9]+)"`)
	found := 0
	for _, dir := range []string{".", "../../keystore", "../../fleet/alert", "../../fleet/blob", "../../image"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files, dir)
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			for _, m := range read.FindAllStringSubmatch(string(b), -1) {
				found++
				name := m[1] + m[2]
				require.Condition(t, func() bool {
					for _, v := range manEnvironment {
						if strings.Contains(", "+v.name+",", ", "+name+",") {
							return true
						}
					}
					return false
				}, "%s reads %s", f, name)
			}
		}
	}
	require.Greater(t, found, 5)
}

// What names commands names such as there are.
func TestManualPagesAreAboutCommandsThatExist(t *testing.T) {
	root := newRootCommand(&environment{stdout: io.Discard, stderr: io.Discard, now: time.Now})
	known := func(path string) {
		c, rest, err := root.Find(strings.Fields(path)[1:])
		require.NoError(t, err, path)
		require.Empty(t, rest, path)
		require.Equal(t, path, c.CommandPath())
	}
	for path := range statusOf {
		known(path)
	}
	for _, terms := range [][]manTerm{manEnvironment, manFiles} {
		for _, term := range terms {
			for _, path := range term.commands {
				known(path)
			}
		}
	}
}

func TestManualPagesAreWellFormed(t *testing.T) {
	lint := ""
	for _, p := range []string{"mandoc", "man"} {
		if _, err := exec.LookPath(p); err == nil {
			lint = p
			break
		}
	}
	if lint == "" {
		t.Skip("needs mandoc or man")
	}
	for f := range manPages(t) {
		cmd := exec.Command("mandoc", "-T", "lint", "-W", "style", f)
		if lint == "man" {
			cmd = exec.Command("man", "--warnings", "-l", f)
			cmd.Stdout = io.Discard
		}
		var out bytes.Buffer
		cmd.Stderr = &out
		if cmd.Stdout == nil {
			cmd.Stdout = &out
		}
		err := cmd.Run()
		var said []string
		for _, l := range strings.Split(strings.TrimSpace(out.String()), "\n") {
			// Examples keep their lines, and what is referred to is not installed here.
			if l != "" && !strings.Contains(l, "line longer than 80") && !strings.Contains(l, "referenced manual not found") {
				said = append(said, l)
			}
		}
		require.Empty(t, said, "%v", err)
	}
}
