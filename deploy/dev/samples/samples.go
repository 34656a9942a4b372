// Package samples holds flows to try and the data they read, embedded.
package samples

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.yaml
var flows embed.FS

//go:embed data/*.csv
var data embed.FS

// Flows returns the flow documents (YAML) by flow id.
func Flows() map[string][]byte {
	out := map[string][]byte{}
	entries, err := flows.ReadDir(".")
	if err != nil {
		panic(err) // the embedded folder is part of the program
	}
	for _, e := range entries {
		text, err := flows.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		out[strings.TrimSuffix(e.Name(), ".yaml")] = text
	}
	return out
}

// Data returns the files that the flows read. Copy them into a worker's data
// directory.
func Data() fs.FS {
	sub, err := fs.Sub(data, "data")
	if err != nil {
		panic(err)
	}
	return sub
}
