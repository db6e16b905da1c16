// Package docs is the documentation, for the program to serve: Markdown, as it stands
// in the repository, and the JSON Schemas of the formats.
package docs

import "embed"

// Files is every page and schema, by its path below this folder.
//
//go:embed *.md decisions/*.md formats start howto
var Files embed.FS
