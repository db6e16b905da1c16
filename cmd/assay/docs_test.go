package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var updateDocs = flag.Bool("update-docs", false, "write what the commands of the documentation print into its pages")

// block is a fenced block of a page, or a comment that begins with "setup": commands
// that a page needs and does not show.
type block struct {
	info     string
	from, to int // lines between the fences
	indent   string
	lines    []string
}

var fence = regexp.MustCompile("^( *)```(.*)$")

// blocksOf takes a page apart.
func blocksOf(page []string) (out []block) {
	for i := 0; i < len(page); i++ {
		if m := fence.FindStringSubmatch(page[i]); m != nil {
			b := block{info: strings.TrimSpace(m[2]), indent: m[1], from: i + 1}
			for i++; i < len(page) && strings.TrimSpace(page[i]) != "```"; i++ {
				b.lines = append(b.lines, strings.TrimPrefix(page[i], b.indent))
			}
			b.to = i
			out = append(out, b)
		}
		if strings.HasPrefix(page[i], "<!-- setup") {
			b := block{info: "setup"}
			for i++; i < len(page) && page[i] != "-->"; i++ {
				b.lines = append(b.lines, page[i])
			}
			out = append(out, b)
		}
	}
	return out
}

// step is one command and what it prints.
type step struct {
	command string
	want    []string
	hidden  bool
	block   int
}

// stepsOf lists the commands of all blocks in order. A command that ends in a
// backslash goes on in the next line.
func stepsOf(blocks []block) (out []step) {
	for n, b := range blocks {
		switch b.info {
		case "setup":
			out = append(out, step{command: strings.Join(b.lines, "\n"), hidden: true, block: n})
		case "console":
			for _, l := range b.lines {
				last := len(out) - 1
				switch cmd, ok := strings.CutPrefix(l, "$ "); {
				case ok:
					out = append(out, step{command: cmd, block: n})
				case last >= 0 && out[last].block == n && strings.HasSuffix(out[last].command, "\\") && len(out[last].want) == 0:
					out[last].command += "\n" + l
				case last >= 0 && out[last].block == n:
					out[last].want = append(out[last].want, l)
				}
			}
		}
	}
	return out
}

// printed is what a command wrote and how it ended.
type printed struct {
	out  string
	code int
}

const mark = "\x1e"

// follow runs the commands one after the other in one shell, so that variables, the
// directory and what runs beside go on.
func follow(t *testing.T, dir string, steps []step) []printed {
	t.Helper()
	var script strings.Builder
	script.WriteString("exec 2>&1 </dev/null\nset +m\n")
	for _, s := range steps {
		fmt.Fprintf(&script, "%s\n__code=$?; printf '\\n%s%%d\\n' $__code; (exit $__code)\n", s.command, mark)
	}
	script.WriteString("kill $(jobs -p) 2>/dev/null; wait 2>/dev/null\n")
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir = dir
	bin := t.TempDir()
	sudo := "#!/bin/sh\nexec \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "sudo"), []byte(sudo), 0o755))
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "HOME="+dir, "LC_ALL=C.UTF-8", "TZ=UTC", "PATH="+bin+":"+os.Getenv("PATH"))
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &b, &b, 10*time.Second
	_ = cmd.Run() // each step's code is looked at by itself
	var out []printed
	rest := b.String()
	for range steps {
		text, after, ok := strings.Cut(rest, "\n"+mark)
		require.True(t, ok, "the shell ended early: %s", rest)
		code, after, _ := strings.Cut(after, "\n")
		n, err := strconv.Atoi(code)
		require.NoError(t, err)
		out = append(out, printed{strings.TrimRight(text, "\n"), n})
		rest = after
	}
	return out
}

// like reports whether a text is as a page shows it: "..." in a line of its own stands
// for any lines, and within a line for any text.
func like(want []string, got string) bool {
	var re strings.Builder
	re.WriteString("(?s)^")
	for _, l := range want {
		if strings.TrimSpace(l) == "..." {
			re.WriteString("(?:.*\n)??")
			continue
		}
		parts := strings.Split(strings.TrimRight(l, " "), "...")
		for j := range parts {
			parts[j] = regexp.QuoteMeta(parts[j])
		}
		re.WriteString(strings.Join(parts, "[^\n]*"))
		re.WriteString(" *\n")
	}
	re.WriteString("$")
	got += "\n"
	if strings.TrimSpace(got) == "" {
		got = ""
	}
	return regexp.MustCompile(re.String()).MatchString(got)
}

// docPages are the README and all pages.
func docPages(t *testing.T) []string {
	t.Helper()
	root := filepath.Join("..", "..")
	out := []string{filepath.Join(root, "README.md")}
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "docs"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(p) == ".md" {
			out = append(out, p)
		}
		return err
	}))
	return out
}

// TestDocumentation follows every command of every page, and holds what it prints
// against what the page shows.
func TestDocumentation(t *testing.T) {
	sample := t.TempDir()
	require.NoError(t, writeSample(sample, time.Now))
	for _, p := range docPages(t) {
		raw, err := os.ReadFile(p)
		require.NoError(t, err)
		page := strings.Split(string(raw), "\n")
		blocks := blocksOf(page)
		steps := stepsOf(blocks)
		if !slices.ContainsFunc(steps, func(s step) bool { return !s.hidden }) {
			continue
		}
		name, err := filepath.Rel(filepath.Join("..", ".."), p)
		require.NoError(t, err)
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, program := range []string{"swtpm_localca", "unzip", "openssl"} {
				if _, err := exec.LookPath(program); err != nil && (strings.Contains(string(raw), program) || strings.Contains(string(raw), "tpm.sh start") && program == "swtpm_localca") {
					t.Skipf("needs %s: bash tools/setup.sh", program)
				}
			}
			t.Setenv("SAMPLE", sample)
			src, err := filepath.Abs(filepath.Join("..", ".."))
			require.NoError(t, err)
			t.Setenv("SRC", src)
			got := follow(t, dir, steps)
			if *updateDocs {
				require.NoError(t, os.WriteFile(p, []byte(updated(page, blocks, steps, got)), 0o644))
				return
			}
			check(t, steps, got)
		})
	}
}

func check(t *testing.T, steps []step, got []printed) {
	t.Helper()
	for i, s := range steps {
		last := i+1 == len(steps)
		if got[i].code != 0 {
			asked := !last && strings.HasPrefix(steps[i+1].command, "echo $?")
			require.True(t, asked && !s.hidden, "%s: exit code %d, which the page does not tell (\"$ echo $?\"):\n%s", s.command, got[i].code, got[i].out)
		}
		if !s.hidden {
			assert.True(t, like(s.want, got[i].out), "%s\nprints\n%s\nand the page shows\n%s", s.command, got[i].out, strings.Join(s.want, "\n"))
		}
	}
}

// updated is the page with what its commands print, where that is not as it shows.
func updated(page []string, blocks []block, steps []step, got []printed) string {
	var out []string
	at := 0
	for n, b := range blocks {
		if b.info != "console" {
			continue
		}
		out = append(out, page[at:b.from]...)
		at = b.to
		for i, s := range steps {
			if s.block != n {
				continue
			}
			lines := append(strings.Split("$ "+s.command, "\n"), s.want...)
			if !like(s.want, got[i].out) {
				lines = strings.Split("$ "+s.command, "\n")
				if got[i].out != "" {
					lines = append(lines, strings.Split(got[i].out, "\n")...)
				}
			}
			for _, l := range lines {
				out = append(out, strings.TrimRight(b.indent+l, " "))
			}
		}
	}
	return strings.Join(append(out, page[at:]...), "\n")
}

// TestCommandsAreFollowed: a block with a command is one that TestDocumentation runs,
// is shell (sh) and run by the script with the page's name, is about a whole system and
// names the script in tools that does the same to one (system NAME), or lists targets
// that the Makefile has. Scripts take the commands from the page and fail when they leave
// one out (tools/guide.sh); only that of the container does the same in another way.
func TestCommandsAreFollowed(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	require.NoError(t, err)
	command := regexp.MustCompile(`^(?:\$|#|sudo|assay) ?(?:sudo )?(?:assay|[a-z]+) `)
	for _, p := range docPages(t) {
		raw, err := os.ReadFile(p)
		require.NoError(t, err)
		_, err = os.Stat(filepath.Join("testdata", "script", strings.TrimSuffix(filepath.Base(p), ".md")+".txtar"))
		scripted := err == nil
		for _, b := range blocksOf(strings.Split(string(raw), "\n")) {
			if b.info == "sh" && scripted {
				continue
			}
			if tool, ok := strings.CutPrefix(b.info, "system "); ok {
				script, err := os.ReadFile(filepath.Join("..", "..", "tools", tool+".sh"))
				assert.NoError(t, err, p)
				if filepath.Base(p) == "guide-install.md" && tool != "container" {
					assert.Contains(t, string(script), "guide_blocks docs/guide-install.md "+tool+" ", "%s: system %s", p, tool)
				}
				continue
			}
			for _, l := range b.lines {
				if target, ok := strings.CutPrefix(l, "make "); ok {
					name, _, _ := strings.Cut(target, " ")
					assert.Contains(t, string(makefile), "\n"+name+":", "%s: make %s", p, name)
				}
				if b.info != "console" && b.info != "setup" && command.MatchString(l) && !strings.HasPrefix(l, "# ") {
					assert.Fail(t, "a command that no test follows", "%s: %s (```console)", p, l)
				}
			}
		}
	}
}

// What the comparison takes for alike decides what the pages may show.
func TestLike(t *testing.T) {
	for _, c := range []struct {
		want []string
		got  string
		ok   bool
	}{
		{nil, "", true},
		{nil, "x", false},
		{[]string{"a", "..."}, "a\nb\nc", true},
		{[]string{"...", "c"}, "a\nb\nc", true},
		{[]string{"a", "...", "c"}, "a\nc", true},
		{[]string{"a", "...", "d"}, "a\nb\nc", false},
		{[]string{"at ... o'clock"}, "at ten o'clock", true},
		{[]string{"at ... o'clock"}, "at ten\no'clock", false},
		{[]string{"a"}, "a\nb", false},
	} {
		assert.Equal(t, c.ok, like(c.want, c.got), "%q %q", c.want, c.got)
	}
}
