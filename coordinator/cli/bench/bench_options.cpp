#include "coordinator/cli/bench/bench_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <ostream>
#include <string_view>

#include "common/base/error.h"
#include "common/config/config_value.h"

namespace tessera {
namespace {

constexpr const char* kAbout =
    "Measures a server as its clients see it: sends requests over HTTP, reads the streams, and "
    "reports latency, throughput and, where the data set has answers, accuracy.";

constexpr const char* kExamples =
    R"(Examples:
  tessera bench --server http://127.0.0.1:8080 --dataset problems.jsonl --concurrency 1,4,16
  tessera bench deploy/models/tiny-sdar --random-prompts --input-len 64 --output-len 128 \
      --json run.json --plot run.svg -- --tp 2 --max-running-requests 32
  tessera bench --server http://127.0.0.1:8080 --dataset problems.jsonl --rate 2,4,8 \
      --slo ttfc=300,e2e=2000 --decoding block_size=8 --decoding buffer_size=4

The first form measures a server that runs; the second starts one for the run and stops it, with the
flags behind "--", which are those of `tessera serve`.

Load. --concurrency N keeps N requests open (closed loop). --rate R lets requests arrive at random
moments, R per second on average (open loop, Poisson), and times them from their arrival even when
the server lags behind. Several values, separated by commas, are run one after the other.

Data sets are lines of JSON: {"id", "task", "question", "answer", "final"}; only the question is
needed. An answer is right when the text behind "####" equals "final" (tasks "word.*") or the whole
text equals "answer", white space around it ignored.

Words of the report:
  TTFC    time to first commit: from sending the request to the first text a user sees
  ICL     inter-commit latency: time between two chunks of text. Diffusion models freeze several
          tokens at once (tokens/commit); a latency "per token" would mean nothing
  TPOT    time per token behind the first commit; undefined for answers of one commit
  TPF     tokens per forward pass, the pass over the prompt included
  bubble  share of forward passes that only store finished blocks
  buffer occupancy   rows of decoding over those of full block buffers
  waste   share of computed rows whose token had been decided before
  goodput requests per second that keep every limit of --slo

Exit codes: 0, 1 for an error, 2 when requests failed, 3 below --min-accuracy or --min-goodput,
64 for wrong arguments.)";

/// A range that errors name and --help does not: most are only there to be refused.
template <typename Number>
CLI::Validator in_range(Number least, Number most) {
  return CLI::Range(least, most).description("");
}

struct Texts {
  std::string model_dir;
  std::string api_key_file;
  std::string objective;
  std::vector<std::string> decoding;
  std::vector<std::int32_t> concurrency;
  std::vector<double> rates;
  double timeout_seconds = 600.0;
  bool has_random_prompts = false;
  bool hides_progress = false;
};

void add_target(CLI::App& app, BenchOptions& options, Texts& texts) {
  const auto* group = "Server";
  app.add_option("MODEL_DIR", texts.model_dir,
                 "Starts a server for this model on a free port of loopback; its flags go behind "
                 "\"--\"")
      ->group(group);
  app.add_option("--server", options.server_url, "A server that runs: http://HOST[:PORT][/PATH]")
      ->type_name("URL")
      ->group(group);
  app.add_option("--model", options.request.model, "Name of the model in requests [default]")
      ->type_name("NAME")
      ->group(group);
  app.add_option("--api-key-file", texts.api_key_file, "File whose first line is the API key")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--timeout", texts.timeout_seconds,
                 "Seconds without a byte after which a request has failed [600]")
      ->type_name("SECONDS")
      ->check(in_range(1.0, 86400.0))
      ->group(group);
}

void add_workload(CLI::App& app, BenchOptions& options, Texts& texts) {
  const auto* group = "Prompts";
  app.add_option("--dataset", options.dataset, "JSONL file of questions, with answers or without")
      ->type_name("FILE")
      ->group(group);
  app.add_flag("--random-prompts", texts.has_random_prompts,
               "Prompts of random tokens instead; no two are alike, and EOS is ignored")
      ->group(group);
  app.add_option("--input-len", options.input_len, "Tokens of a random prompt [128]")
      ->check(in_range(1, 1 << 24))
      ->group(group);
  app.add_option("--output-len", options.output_len, "Tokens of its answer [128]")
      ->check(in_range(1, 1 << 24))
      ->group(group);
  app.add_option("--num-requests", options.num_requests,
                 "Requests of each level; a shorter data set is gone through again [the whole data "
                 "set, or 64]")
      ->check(in_range(1, 1 << 24))
      ->group(group);
}

void add_request(CLI::App& app, RequestOptions& request, Texts& texts) {
  const auto* group = "Requests (what is not given is left to the server)";
  app.add_option("--max-tokens", request.max_tokens, "Most tokens of an answer")
      ->check(in_range(1, 1 << 24))
      ->group(group);
  app.add_option("--temperature", request.temperature, "0 is greedy")
      ->check(in_range(0.0, 100.0))
      ->group(group);
  app.add_option("--top-p", request.top_p, "Nucleus")->check(in_range(0.0, 1.0))->group(group);
  app.add_option("--top-k", request.top_k, "Most likely tokens to choose from; 0 is all")
      ->check(in_range(0, 1 << 24))
      ->group(group);
  app.add_option("--seed", request.seed, "Seed of every request")->group(group);
  app.add_option("--decoding", texts.decoding,
                 "Option of the decoding, e.g. strategy, block_size, buffer_size, "
                 "accept_threshold; may be given several times")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false)
      ->group(group);
}

void add_load(CLI::App& app, BenchOptions& options, Texts& texts) {
  const auto* group = "Load";
  app.add_option("--concurrency", texts.concurrency, "Requests open at a time, e.g. 1,4,16 [1]")
      ->delimiter(',')
      ->check(in_range(1, 4096))
      ->allow_extra_args(false)
      ->type_name("N,...")
      ->group(group);
  app.add_option("--rate", texts.rates, "Arrivals per second, e.g. 0.5,2")
      ->delimiter(',')
      ->check(in_range(1e-3, 1e6))
      ->allow_extra_args(false)
      ->type_name("R,...")
      ->group(group);
  app.add_option("--warmup", options.num_warmup, "Requests before each level, not counted [8]")
      ->check(in_range(0, 1 << 20))
      ->group(group);
  app.add_option("--load-seed", options.load_seed, "Seed of arrivals and random prompts [0]")
      ->group(group);
}

void add_results(CLI::App& app, BenchOptions& options, Texts& texts) {
  const auto* group = "Results (a Markdown report goes to stdout)";
  app.add_option("--json", options.json_path, "Everything, each request included")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--plot", options.plot_path, "SVG: throughput and latency against the load")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--slo", texts.objective,
                 "Limits in milliseconds of a good request: ttfc=,icl_p95=,tpot=,e2e=")
      ->type_name("NAME=MS,...")
      ->group(group);
  app.add_option("--min-accuracy", options.min_accuracy, "Percent; less exits with 3")
      ->check(in_range(0.0, 100.0))
      ->group(group);
  app.add_option("--min-goodput", options.min_goodput,
                 "Good requests per second; less exits with 3")
      ->check(in_range(0.0, 1e9))
      ->group(group);
  app.add_flag("--no-progress", texts.hides_progress, "No progress bar on stderr")->group(group);
}

std::string first_line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  TESSERA_REQUIRE(std::getline(file, line) && !line.empty(), "--api-key-file ", path,
                  " cannot be read or has no key in its first line");
  return line;
}

nlohmann::json decoding_of(const std::vector<std::string>& pairs) {
  nlohmann::json decoding = nlohmann::json::object();
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.find('=');
    TESSERA_REQUIRE(equals != std::string::npos && equals > 0, "--decoding is \"", pair,
                    "\"; allowed: NAME=VALUE");
    decoding[pair.substr(0, equals)] =
        std::visit([](const auto& value) { return nlohmann::json(value); },
                   guess_value(pair.substr(equals + 1)));
  }
  return decoding;
}

void check(const BenchOptions& options, const Texts& texts) {
  TESSERA_REQUIRE(texts.model_dir.empty() != options.server_url.empty(),
                  "give either --server URL or MODEL_DIR; see tessera bench --help");
  TESSERA_REQUIRE(options.server_url.empty() || options.serve_arguments.empty(),
                  "flags behind \"--\" are those of a server that this command starts; --server "
                  "names one that runs");
  TESSERA_REQUIRE(texts.has_random_prompts != !options.dataset.empty(),
                  "give either --dataset FILE or --random-prompts");
  TESSERA_REQUIRE(!options.min_goodput || options.objective.is_set(),
                  "--min-goodput needs --slo, which says what is good");
  TESSERA_REQUIRE(!options.min_accuracy || !options.dataset.empty(),
                  "--min-accuracy needs a --dataset with answers");
}

void complete(BenchOptions& options, const Texts& texts) {
  options.objective = parse_objective(texts.objective);
  options.request.decoding = decoding_of(texts.decoding);
  options.shows_progress = !texts.hides_progress;
  options.timeout = std::chrono::seconds(static_cast<std::int64_t>(texts.timeout_seconds));
  if (!texts.api_key_file.empty()) options.api_key = first_line_of(texts.api_key_file);
  if (texts.has_random_prompts) {
    options.request.max_tokens = options.output_len;
    options.request.ignore_eos = true;
  }
  for (const std::int32_t n : texts.concurrency) options.levels.push_back({n, std::nullopt});
  for (const double rate : texts.rates) options.levels.push_back({std::nullopt, rate});
  if (options.levels.empty()) options.levels.push_back({1, std::nullopt});
}

}  // namespace

std::optional<BenchOptions> read_bench_options(int argc,
                                               const char* const* argv,
                                               std::ostream& out) {
  // CLI11 would take what stands behind "--" as positional arguments of its own.
  const char* const* end = std::find(argv, argv + argc, std::string_view("--"));
  CLI::App app{kAbout, "tessera bench"};
  app.footer(kExamples);
  app.set_help_flag("-h,--help", "Prints this help")->group("Help");
  app.get_formatter()->column_width(36);
  BenchOptions options;
  Texts texts;
  add_target(app, options, texts);
  add_workload(app, options, texts);
  add_request(app, options.request, texts);
  add_load(app, options, texts);
  add_results(app, options, texts);
  try {
    app.parse(static_cast<int>(end - argv), argv);
  } catch (const CLI::CallForHelp&) {
    out << app.help();
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorCode::kInvalidArgument, error.what());
  }
  for (const char* const* flag = end + (end == argv + argc ? 0 : 1); flag != argv + argc; ++flag) {
    options.serve_arguments.emplace_back(*flag);
  }
  complete(options, texts);
  check(options, texts);
  if (!texts.model_dir.empty()) {
    options.serve_arguments.insert(options.serve_arguments.begin(), texts.model_dir);
  }
  return options;
}

}  // namespace tessera
