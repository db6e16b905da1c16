// Package loss has the word for what a conversion between formats could not carry.
package loss

import "fmt"

// Loss is something that one format says and another has no place for.
type Loss struct {
	Where string `json:"where"`           // in the source: a file, a line, "components[3].revision"
	Value string `json:"value,omitempty"` // what it says there
	What  string `json:"what"`            // is lost, or why
}

// maxValue bounds what is shown of a value.
const maxValue = 64

// String is the loss in one line.
func (l Loss) String() string {
	if l.Value == "" {
		return l.Where + ": " + l.What
	}
	v := []rune(l.Value)
	if len(v) > maxValue {
		v = append(v[:maxValue:maxValue], '…')
	}
	return fmt.Sprintf("%s: %q: %s", l.Where, string(v), l.What)
}
