// Package oracle holds what goes over the sandbox's wire to AWS's own service
// models: that operations, members, types, required members, enums, lengths,
// patterns, timestamps, error codes and statuses are those that AWS publishes.
//
// The models are not part of the project: a folder that the environment
// variable POOLHOUSE_API_MODELS names holds them, gzipped JSON as botocore has
// it, a file for each service. Without it nothing is checked and nothing costs.
// Only tests import this package.
//
// A request that doesn't fit its model must be refused, since AWS refuses it;
// an answer must fit always.
//
// Limits: event streams and members bound to host names are not looked at.
// Services without a model are those of [Unchecked], patterns that Go's engine
// lacks those of [UncheckedPatterns]. What an injected fault answers is its
// author's concern.
package oracle

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// Variable names the folder of service models.
const Variable = "POOLHOUSE_API_MODELS"

// Unchecked are the services that the collection of models lacks, by their
// signing names, or the names of their APIs where several are signed alike.
func Unchecked() []string { return []string{"cloudtrail", "elb", "monitoring", "sns"} }

// UncheckedPatterns are the shapes whose pattern has look-arounds or references
// amid it, by service; the rest of their facts is checked.
func UncheckedPatterns() map[string][]string {
	return map[string][]string{
		"acm":    {"DomainNameString"},
		"backup": {"AccessPointArn", "AccessPointName"},
		"iam":    {"accountAliasType"},
		"rds":    {"TargetDBClusterParameterGroupName", "TargetDBParameterGroupName"},
		"ssm":    {"StringDateTime"},
	}
}

// file is the name of a service's model, by its signing name.
func file(service string) string {
	switch service {
	case "elasticloadbalancing":
		return "elbv2.json.gz"
	case "servicequotas":
		return "service-quotas.json.gz"
	case "tagging":
		return "resourcegroupstaggingapi.json.gz"
	}
	return service + ".json.gz"
}

// model is one service's. Shapes are decoded when they are met, since most of a
// large service's never are.
type model struct {
	service  string
	Metadata struct {
		Protocol     string
		TargetPrefix string
		APIVersion   string `json:"apiVersion"`
		JSONVersion  string `json:"jsonVersion"`
	}
	Operations map[string]*operation
	Shapes     map[string]json.RawMessage

	mu     sync.Mutex
	shapes map[string]*shape
}

type operation struct {
	Name string
	HTTP struct {
		Method       string
		RequestURI   string `json:"requestUri"`
		ResponseCode int
	}
	Input  *ref
	Output *struct {
		ref
		ResultWrapper string
	}
	Errors []ref
}

type ref struct {
	Shape           string
	Location        string
	LocationName    string
	QueryName       string
	Flattened       bool
	XMLAttribute    bool `json:"xmlAttribute"`
	Streaming       bool
	TimestampFormat string
}

type shape struct {
	name            string
	Type            string
	Members         map[string]*ref
	Required        []string
	Payload         string
	Member          *ref
	Key             *ref
	Value           *ref
	Flattened       bool
	LocationName    string
	Enum            []string
	Min             *float64
	Max             *float64
	Pattern         string
	TimestampFormat string
	Union           bool
	Exception       bool
	EventStream     bool `json:"eventstream"`
	Document        bool
	Error           *struct {
		Code           string
		HTTPStatusCode int `json:"httpStatusCode"`
	}

	pattern *facts.Pattern
}

// shape decodes a shape; one that the model lacks is empty.
func (m *model) shape(name string) *shape {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.shapes[name]; s != nil {
		return s
	}
	s := &shape{name: name}
	if err := json.Unmarshal(m.Shapes[name], s); err != nil {
		s = &shape{name: name, Type: "unreadable: " + err.Error()}
	}
	if s.Pattern != "" && !slices.Contains(UncheckedPatterns()[m.service], name) {
		p, err := facts.CompilePattern(s.Pattern, true)
		if err != nil {
			s.Type = "unreadable: " + err.Error()
		}
		s.pattern = p
	}
	m.shapes[name] = s
	return s
}

// Models are AWS's service models. They are safe for concurrent use.
type Models struct {
	folder string

	mu     sync.Mutex
	models map[string]*model
	// fit are hashes of answers that fitted: clients that wait see the same
	// one again and again.
	fit sync.Map
}

var loaded = sync.OnceValue(func() *Models {
	if folder := os.Getenv(Variable); folder != "" {
		return &Models{folder: folder, models: map[string]*model{}}
	}
	return nil
})

// Load returns the models that the environment names, shared by the process;
// nil if it names none.
func Load() *Models { return loaded() }

// model reads a service's model when it is first asked for; nil for a service
// that has none.
func (ms *Models) model(service string) (*model, error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m, ok := ms.models[service]; ok {
		return m, nil
	}
	m, err := read(filepath.Join(ms.folder, file(service)))
	if errors.Is(err, fs.ErrNotExist) {
		m, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if m != nil {
		m.service = service
	}
	ms.models[service] = m
	return m, nil
}

func read(path string) (*model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read service model %s: %w", path, err)
	}
	body, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("read service model %s: %w", path, err)
	}
	m := &model{shapes: map[string]*shape{}}
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("read service model %s: %w", path, err)
	}
	return m, nil
}
