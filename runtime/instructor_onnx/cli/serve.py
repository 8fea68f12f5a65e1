"""`instructor-onnx serve`: a bundle over HTTP."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from instructor_onnx import server
from instructor_onnx.cli import arguments
from instructor_onnx.server import Options

HELP = """\
Needs pip install 'instructor-onnx[serve]'. Inputs of all requests wait in one queue and run together, batched by
tokens. GET /health answers 200 once the model is loaded and warmed up, 503 before. SIGTERM or Ctrl-C: no new
requests, those that run are finished, exit code 0.

routes:
  POST /v1/embeddings  GET /v1/models                 as OpenAI's API; also "instruction": one, or a list for each
  POST /embed  POST /tokenize  GET /info  GET /health  as text-embeddings-inference; prompt_name names a preset
  GET /metrics  GET /openapi.json                      for Prometheus; what all of these take and answer
  GET /                                                for browsers: what instructions do to your texts (--no-page)

presets: named instructions, picked as the model "NAME:PRESET" or as prompt_name. --presets reads them from a file
{"query": "Represent the question for retrieving supporting documents: ", ...}, --preset adds one.

key: with INSTRUCTOR_ONNX_API_KEY in the environment, or --api-key-file (one key a line), every request but
GET /health needs "Authorization: Bearer KEY"; a browser asks for it as a password. Neither shows in the list of
processes.

limits: a body too large is answered 413, an input that cannot be embedded 422, and when too much waits 429 with
Retry-After. There is no TLS: put a reverse proxy before a server that others reach.

examples:
  instructor-onnx serve my-bundle
  instructor-onnx serve my-bundle --host 0.0.0.0 --api-key-file key.txt --presets presets.json
  instructor-onnx serve instructor-mini --preset "query=Represent the question for retrieving documents: "
  curl http://127.0.0.1:8080/v1/embeddings -H 'Content-Type: application/json' \\
      -d '{"input": "3D ActionSLAM", "instruction": "Represent the Science title: "}'
"""


def add(commands: arguments.Commands) -> None:
    command = arguments.new_command(commands, "serve", "answer requests over HTTP", HELP, run)
    command.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder, a Hugging Face id, or instructor-mini")
    command.add_argument("--host", default=Options.host, metavar="ADDRESS", help=f"default: {Options.host}")
    command.add_argument(
        "--port", type=arguments.port, default=Options.port, metavar="N", help=f"default: {Options.port}"
    )
    command.add_argument(
        "--served-model-name",
        action="append",
        default=[],
        metavar="NAME",
        help="what requests call the model; may be given several times (default: the bundle's name)",
    )
    command.add_argument("--presets", type=Path, metavar="FILE", help="named instructions, as a JSON object")
    command.add_argument("--preset", action="append", default=[], metavar="NAME=INSTRUCTION", help="one more of them")
    command.add_argument("--api-key-file", type=Path, metavar="FILE", help="keys, one a line; a request needs one")
    command.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name that requests may be addressed to, where only this machine can reach the server and it "
        "has no key; may be given several times (any name may, where others can, or where it has a key)",
    )
    command.add_argument("--no-page", action="store_false", dest="page", help="no page for browsers at /")
    command.add_argument("--access-log", action="store_true", help="a line on stderr for each request")

    request = command.add_argument_group("limits of a request")
    _add_limit(request, "--payload-limit", Options.payload_limit, "bytes of a body")
    _add_limit(request, "--max-client-batch-size", Options.max_client_batch_size, "inputs of a request")
    _add_limit(request, "--body-timeout", Options.body_timeout, "seconds until a head, and then a body, must have come")
    _add_limit(request, "--write-timeout", Options.write_timeout, "seconds until the answer must have been read")
    request.add_argument(
        "--auto-truncate",
        action=argparse.BooleanOptionalAction,
        default=Options.auto_truncate,
        help="cut inputs that are too long where a request does not say `truncate`; otherwise they are an error",
    )

    load = command.add_argument_group("limits of all requests together")
    _add_limit(load, "--max-connections", Options.max_connections, "open connections")
    _add_limit(load, "--max-concurrent-requests", Options.max_concurrent_requests, "requests being answered")
    _add_limit(load, "--max-queue-tokens", Options.max_queue_tokens, "tokens that wait for a run")
    _add_limit(load, "--drain-timeout", Options.drain_timeout, "seconds to finish what runs, after SIGTERM")

    model = arguments.add_model(command)
    model.add_argument(
        "--max-batch-tokens",
        type=arguments.positive,
        metavar="N",
        help="tokens of one run, padded (default: fits the device)",
    )
    arguments.add_hub(command, "BUNDLE")


def run(args: argparse.Namespace) -> None:
    options = Options(
        host=args.host,
        port=args.port,
        allowed_hosts=tuple(args.allowed_host),
        page=args.page,
        model_names=tuple(args.served_model_name),
        presets=server.read_presets(args.presets, args.preset),
        api_keys=server.read_api_keys(args.api_key_file, os.environ.get(server.API_KEY)),
        payload_limit=args.payload_limit,
        max_client_batch_size=args.max_client_batch_size,
        auto_truncate=args.auto_truncate,
        body_timeout=args.body_timeout,
        write_timeout=args.write_timeout,
        max_connections=args.max_connections,
        max_concurrent_requests=args.max_concurrent_requests,
        max_queue_tokens=args.max_queue_tokens,
        drain_timeout=args.drain_timeout,
        access_log=args.access_log,
    )
    server.serve(lambda: arguments.open_model(args, token_budget=args.max_batch_tokens), options)


def _add_limit(group: argparse._ArgumentGroup, flag: str, default: int, meaning: str) -> None:
    group.add_argument(
        flag, type=arguments.positive, default=default, metavar="N", help=f"{meaning} (default: {default:,})"
    )
