package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/transfer"
)

// bundled are the checkpoints of a bundle.
type bundled struct {
	contents *bundle.Contents
	// there lie in the bundle or beside it; missing do not.
	there, missing []bundle.Checkpoint
}

// missing says of a checkpoint that was not found how it is pushed later, to the
// deployment of a file.
func missing(c bundle.Checkpoint, file string) string {
	as, archive := "", "ARCHIVE"
	if c.File != "" {
		as, archive = ", as "+c.File, quoted(c.File)
	}
	return "the checkpoint " + c.Name + " lies neither in the bundle nor beside it" + as +
		"; push it later: poolhouse models push -f " + quoted(file) + " --name " + c.Name + " " + archive
}

// checkpointsOf looks for a bundle's checkpoints in it and beside it.
func checkpointsOf(c *bundle.Contents) bundled {
	b := bundled{contents: c}
	for _, one := range c.Checkpoints {
		_, err := os.Stat(b.path(one))
		if one.There || one.File != "" && err == nil {
			b.there = append(b.there, one)
		} else {
			b.missing = append(b.missing, one)
		}
	}
	return b
}

// path is where an archive beside the bundle lies.
func (b bundled) path(c bundle.Checkpoint) string {
	return filepath.Join(filepath.Dir(filepath.Clean(b.contents.Path)), filepath.FromSlash(c.File))
}

// beside has a run push the checkpoints beside its stacks, one after the other. All
// are tried; the error names those that failed.
func (b bundled) beside(resume string, limit *transfer.Limit) deploy.Transfer {
	return deploy.Transfer{
		Name: "checkpoints", After: []architecture.StackName{architecture.Storage}, Resume: resume,
		Move: func(ctx context.Context, c *awsapi.Clients, outputs map[architecture.StackName]map[string]string, m *transfer.Meter) error {
			store, err := models.Open(ctx, c, outputs[architecture.Storage]["ModelsBucketName"])
			if err != nil {
				return err
			}
			for _, c := range b.there {
				expect(m, c, 1)
			}
			var all error
			for _, c := range b.there {
				expect(m, c, -1)
				if ctx.Err() != nil {
					break
				}
				o := models.PushOptions{Source: b.path(c), Name: c.Name, Digest: c.Digest, Meter: m, Limit: limit}
				if c.There {
					o.Source = b.contents.Path + " > " + c.File
					o.Open = func(ctx context.Context) (io.ReadCloser, error) { return b.contents.Open(ctx, c.File) }
				}
				_, err := store.Push(ctx, o)
				all = errors.Join(all, err)
			}
			return errors.Join(all, context.Cause(ctx))
		},
	}
}

// expect announces a checkpoint that is to be pushed, or takes that back: by its size, if
// that is about what its files have.
func expect(m *transfer.Meter, c bundle.Checkpoint, sign int) {
	if c.Size > 0 && strings.HasSuffix(c.File, ".tar") {
		m.Expect(int64(sign) * c.Size)
		return
	}
	m.ExpectUnknown(sign)
}
