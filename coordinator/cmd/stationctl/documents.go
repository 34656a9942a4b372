package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// document is a flow document read from a file or from standard input.
type document struct {
	name        string // for messages
	contentType string // "" = not known
	body        []byte
}

// documents reads what -f names: files, "-" for standard input, directories
// for their .json, .yaml and .yml files, in the order of their names. Several
// is true when a directory or more than one place is named.
func (a *app) documents(places []string) (docs []document, several bool, err error) {
	var faults []error
	stdin := 0
	for _, p := range places {
		if p == "-" {
			if stdin++; stdin > 1 {
				faults = append(faults, errors.New("-f - is given twice"))
				continue
			}
			b, err := io.ReadAll(a.in)
			if err != nil {
				faults = append(faults, fmt.Errorf("read standard input: %w", err))
			}
			docs = append(docs, document{name: "standard input", body: b})
			continue
		}
		files, dir, err := filesAt(p)
		several = several || dir
		if err != nil {
			faults = append(faults, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				faults = append(faults, err)
				continue
			}
			docs = append(docs, document{name: f, contentType: typeOf(f), body: b})
		}
	}
	for _, d := range docs {
		if strings.TrimSpace(string(d.body)) == "" {
			faults = append(faults, fmt.Errorf("%s is empty", d.name))
		}
	}
	if len(faults) > 0 {
		return nil, false, &usageError{errors.Join(faults...).Error()}
	}
	return docs, several || len(places) > 1, nil
}

// filesAt returns the document files at a place, and whether it is a directory.
func filesAt(place string) ([]string, bool, error) {
	info, err := os.Stat(place)
	switch {
	case err != nil:
		return nil, false, err
	case !info.IsDir():
		return []string{place}, false, nil
	}
	entries, err := os.ReadDir(place)
	if err != nil {
		return nil, true, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && typeOf(e.Name()) != "" && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(place, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, true, fmt.Errorf("%s holds no .json, .yaml or .yml file", place)
	}
	return files, true, nil
}

// typeOf returns the media type that a file's name tells, or "".
func typeOf(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".json":
		return "application/json"
	case ".yaml", ".yml":
		return "application/yaml"
	default:
		return ""
	}
}
