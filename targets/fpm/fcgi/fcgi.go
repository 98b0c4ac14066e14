// Package fcgi asks php-fpm, or any other FastCGI responder, one question a connection.
package fcgi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// FastCGI's record types and its one role that matters here.
const (
	fcgiVersion      = 1
	fcgiBegin        = 1
	fcgiEnd          = 3
	fcgiParams       = 4
	fcgiStdin        = 5
	fcgiStdout       = 6
	fcgiStderr       = 7
	fcgiResponder    = 1
	fcgiID           = 1
	fcgiHeader       = 8
	fcgiMaxContent   = 65535
	fcgiComplete     = 0
	maxAnswer        = 8 << 20 // of stdout: the full status of a thousand workers is under 1 MB
	maxComplaint     = 64 << 10
	maxAnswerHeaders = 64 << 10
)

// Answer is what php-fpm said to one request.
type Answer struct {
	Status    int
	Header    http.Header
	Body      []byte
	Complaint string // what came on the error stream
}

// Network says whether a listen address is a unix socket's path or TCP's host:port.
func Network(listen string) string {
	if strings.HasPrefix(listen, "/") {
		return "unix"
	}
	return "tcp"
}

// ErrRefused wraps every failure to connect: nothing was sent, so nothing was counted as a request.
var ErrRefused = errors.New("nobody accepts")

// Call sends one request over its own connection and reads the answer, all before ctx ends.
func Call(ctx context.Context, listen string, params map[string]string) (Answer, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, Network(listen), listen)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	a, err := exchange(conn, params)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return a, err
}

func exchange(rw io.ReadWriter, params map[string]string) (Answer, error) {
	request, err := encodeRequest(params)
	if err != nil {
		return Answer{}, err
	}
	if _, err := rw.Write(request); err != nil {
		return Answer{}, fmt.Errorf("send request: %w", err)
	}
	stdout, complaint, err := readRecords(bufio.NewReader(rw))
	if err != nil {
		return Answer{}, fmt.Errorf("read answer: %w", err)
	}
	a, err := parseAnswer(stdout)
	a.Complaint = complaint
	return a, err
}

// encodeRequest is a whole GET request without a body, the connection not to be kept.
func encodeRequest(params map[string]string) ([]byte, error) {
	var pairs []byte
	for name, value := range params {
		pairs = appendLength(pairs, len(name))
		pairs = appendLength(pairs, len(value))
		pairs = append(append(pairs, name...), value...)
	}
	if len(pairs) > fcgiMaxContent {
		return nil, fmt.Errorf("request of %d bytes of parameters: at most %d", len(pairs), fcgiMaxContent)
	}
	b := appendRecord(nil, fcgiBegin, []byte{0, fcgiResponder, 0, 0, 0, 0, 0, 0})
	b = appendRecord(b, fcgiParams, pairs)
	b = appendRecord(b, fcgiParams, nil)
	return appendRecord(b, fcgiStdin, nil), nil
}

func appendLength(b []byte, n int) []byte {
	if n < 128 {
		return append(b, byte(n))
	}
	return binary.BigEndian.AppendUint32(b, uint32(n)|1<<31)
}

func appendRecord(b []byte, kind byte, content []byte) []byte {
	b = append(b, fcgiVersion, kind, 0, fcgiID)
	b = binary.BigEndian.AppendUint16(b, uint16(len(content)))
	return append(append(b, 0, 0), content...)
}

// readRecords reads until the end of the request. A stream that ends before is an error: the worker was killed.
func readRecords(r *bufio.Reader) (stdout []byte, complaint string, err error) {
	var header [fcgiHeader]byte
	var errs bytes.Buffer
	for {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return nil, "", fmt.Errorf("the answer broke off: %w", err)
		}
		length, padding := int(binary.BigEndian.Uint16(header[4:])), int(header[6])
		if header[0] != fcgiVersion {
			return nil, "", fmt.Errorf("record of version %d: not FastCGI", header[0])
		}
		if id := binary.BigEndian.Uint16(header[2:]); id != fcgiID {
			return nil, "", fmt.Errorf("record of request %d, which nobody sent", id)
		}
		content := make([]byte, length+padding)
		if _, err := io.ReadFull(r, content); err != nil {
			return nil, "", fmt.Errorf("the answer broke off: %w", err)
		}
		content = content[:length]
		switch header[1] {
		case fcgiStdout:
			if len(stdout)+length > maxAnswer {
				return nil, "", fmt.Errorf("answer of more than %d bytes", maxAnswer)
			}
			stdout = append(stdout, content...)
		case fcgiStderr:
			errs.Write(content[:min(length, maxComplaint-errs.Len())])
		case fcgiEnd:
			if length < 8 || content[4] != fcgiComplete {
				return nil, "", errors.New("php-fpm refused the request")
			}
			return stdout, errs.String(), nil
		default:
			return nil, "", fmt.Errorf("record of unknown type %d", header[1])
		}
	}
}

// parseAnswer takes the CGI headers off a response. The status is 200 where no header says otherwise.
func parseAnswer(stdout []byte) (Answer, error) {
	head, body, found := bytes.Cut(stdout, []byte("\r\n\r\n"))
	if !found || len(head) > maxAnswerHeaders {
		return Answer{}, fmt.Errorf("answer of %d bytes without an end of its headers", len(stdout))
	}
	lines := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(head), strings.NewReader("\r\n\r\n"))))
	headers, err := lines.ReadMIMEHeader()
	if err != nil {
		return Answer{}, fmt.Errorf("answer's headers: %w", err)
	}
	a := Answer{Status: 200, Header: http.Header(headers), Body: body}
	if text := headers.Get("Status"); text != "" {
		code, _, _ := strings.Cut(text, " ")
		if a.Status, err = strconv.Atoi(code); err != nil || a.Status < 100 || a.Status > 999 {
			return Answer{}, fmt.Errorf("answer's status %q: not a number of three digits", text)
		}
	}
	return a, nil
}
