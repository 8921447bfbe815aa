#include "coordinator/cli/bench/bench_session.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fstream>
#include <iomanip>
#include <ostream>
#include <set>
#include <sstream>

#include "common/base/error.h"
#include "coordinator/cli/bench/load_generator.h"
#include "coordinator/cli/bench/progress_bar.h"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::int32_t kRandomRequests = 64;

// A server may show figures that are some tens of milliseconds old.
constexpr std::chrono::milliseconds kScrapeDelay{150};

// Ordinary words: their tokens are certain to be text and no markers of any tokenizer.
constexpr const char* kWords =
    "A farm has nineteen goats and eighteen spiders. How many legs do they have in total? The "
    "quick brown fox jumps over the lazy dog while seven old ships wait for water, wind and light "
    "near a quiet island; every morning someone counts 1234567890 birds, writes down the number "
    "and asks whether the answer could have been different under another sky.";

/// FNV-1a, 64 bits: tells two versions of a data set apart.
std::string hash_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (char c; file.get(c);) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  }
  std::ostringstream text;
  text << std::hex << std::setw(16) << std::setfill('0') << hash;
  return text.str();
}

/// Seeds of the prompts of different levels and their warm-ups must not meet.
std::uint64_t level_seed(std::uint64_t load_seed, std::size_t level, bool is_warmup) {
  return load_seed * 0x9E3779B97F4A7C15U + 2 * level + (is_warmup ? 1 : 0);
}

}  // namespace

BenchSession::BenchSession(const BenchOptions& options,
                           const ServerUrl& server,
                           std::ostream* progress)
    : options_(options), progress_(progress) {
  base_.server = server;
  base_.api_key = options.api_key;
  base_.timeout = options.timeout;
  if (options.has_random_prompts()) {
    vocabulary_ = word_tokens();
  } else {
    dataset_ = read_problems(options.dataset);
  }
}

BenchRun BenchSession::run() const {
  BenchRun run;
  run.server = describe_server();
  run.workload = describe_workload();
  for (std::size_t i = 0; i < options_.levels.size(); ++i) {
    run.levels.push_back(run_level(options_.levels[i], i));
    run.summaries.push_back(summarize(run.levels.back(), options_.objective));
  }
  return run;
}

LevelResult BenchSession::run_level(const LoadLevel& level, std::size_t index) const {
  const LoadGenerator generator(base_, options_.request, clock_);
  if (options_.num_warmup > 0) {
    const auto warmup = problems_for(index, options_.num_warmup, /*is_warmup=*/true);
    const LoadLevel load{level.concurrency.value_or(options_.num_warmup), std::nullopt};
    ProgressBar bar(progress_, clock_, "warm-up", warmup.size());
    generator.run(warmup, load, 0, [&](const RequestTrace& trace) { bar.advance(trace.is_ok()); });
  }
  const auto default_count =
      options_.has_random_prompts() ? kRandomRequests : static_cast<std::int32_t>(dataset_.size());
  const auto problems =
      problems_for(index, options_.num_requests.value_or(default_count), /*is_warmup=*/false);
  const MetricSeries before = scrape();
  ProgressBar bar(progress_, clock_, level.name(), problems.size());
  LoadResult load = generator.run(problems, level, options_.load_seed,
                                  [&](const RequestTrace& trace) { bar.advance(trace.is_ok()); });
  return {level, load.wall, std::move(load.requests), server_figures(before, scrape())};
}

std::vector<Problem> BenchSession::problems_for(std::size_t level,
                                                std::int32_t count,
                                                bool is_warmup) const {
  if (options_.has_random_prompts()) {
    return random_problems(count, options_.input_len, vocabulary_,
                           level_seed(options_.load_seed, level, is_warmup));
  }
  std::vector<Problem> problems;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    // Warm-up takes the data set from its end, so that the first ones counted are new.
    const std::size_t at = i % dataset_.size();
    problems.push_back(dataset_[is_warmup ? dataset_.size() - 1 - at : at]);
  }
  return problems;
}

ordered_json BenchSession::describe_server() const {
  const HttpAnswer models = fetch("/v1/models");
  TESSERA_REQUIRE(models.is_ok(), "no answer from ", base_.server.host, ":", base_.server.port,
                  ": ", error_message(models));
  const auto list = ordered_json::parse(models.body, nullptr, /*allow_exceptions=*/false);
  const ordered_json::json_pointer first("/data/0");
  TESSERA_REQUIRE(!list.is_discarded() && list.contains(first) && list.at(first).contains("id"),
                  "/v1/models of the server lists no model");
  ordered_json server = {
      {"url", "http://" + base_.server.host + ":" + base_.server.port + base_.server.path},
      {"model", list.at(first).at("id")},
      {"about", list.at(first)}};
  const HttpAnswer version = fetch("/version");  // others have no such route
  if (version.is_ok()) {
    server["version"] = ordered_json::parse(version.body, nullptr, /*allow_exceptions=*/false);
  }
  return server;
}

ordered_json BenchSession::describe_workload() const {
  if (options_.has_random_prompts()) {
    return {
        {"kind", "random"}, {"input_len", options_.input_len}, {"output_len", options_.output_len}};
  }
  return {{"kind", "dataset"},
          {"path", options_.dataset},
          {"fnv1a64", hash_of_file(options_.dataset)},
          {"problems", dataset_.size()}};
}

MetricSeries BenchSession::scrape() const {
  boost::asio::io_context loop;
  boost::asio::steady_timer(loop, kScrapeDelay).wait();
  const HttpAnswer page = fetch("/metrics");
  return page.is_ok() ? parse_metrics(page.body) : MetricSeries{};
}

HttpAnswer BenchSession::fetch(const std::string& target, const std::string& body) const {
  HttpCall call = base_;
  call.target = target;
  call.body = body;
  return blocking_http_request(call);
}

std::vector<std::int32_t> BenchSession::word_tokens() const {
  const nlohmann::json question = {
      {"model", options_.request.model}, {"prompt", kWords}, {"add_special_tokens", false}};
  const HttpAnswer answer = fetch("/tokenize", question.dump());
  TESSERA_REQUIRE(answer.is_ok(), "--random-prompts needs the route /tokenize of the server: ",
                  error_message(answer));
  const auto body = nlohmann::json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  TESSERA_REQUIRE(!body.is_discarded() && body.contains("tokens"),
                  "the answer of /tokenize has no tokens");
  const auto tokens = body.at("tokens").get<std::set<std::int32_t>>();
  return {tokens.begin(), tokens.end()};
}

}  // namespace tessera
