#include "coordinator/cli/bench/load_generator.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "common/base/error.h"
#include "coordinator/cli/bench/arrivals.h"

namespace tessera {
namespace {

namespace asio = boost::asio;

/// `code` of an OpenAI error body, as " code"; empty if there is none.
std::string code_of(const std::string& body) {
  const nlohmann::json parsed = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  const nlohmann::json::json_pointer place("/error/code");
  if (parsed.is_discarded() || !parsed.is_object() || !parsed.contains(place)) return {};
  return parsed.at(place).is_string() ? " " + parsed.at(place).get<std::string>() : std::string();
}

void fail(RequestTrace& trace, std::string kind, std::string detail) {
  if (!trace.is_ok()) return;  // the first cause
  trace.failure = std::move(kind);
  trace.failure_detail = std::move(detail);
}

void judge(RequestTrace& trace, const HttpAnswer& answer, bool has_usage) {
  if (!answer.error.empty()) {
    const bool is_timeout = answer.error.find("timeout") != std::string::npos;
    fail(trace,
         is_timeout           ? "timeout"
         : answer.status == 0 ? "connection"
                              : "cut stream",
         answer.error);
  } else if (answer.status != 200) {
    fail(trace, "HTTP " + std::to_string(answer.status) + code_of(answer.body),
         error_message(answer));
  } else if (!answer.is_done) {
    fail(trace, "cut stream", "the stream ended without [DONE]");
  } else if (!has_usage) {
    fail(trace, "no usage", "the stream ended without a chunk of usage");
  }
}

/// One run over all problems. Lives on the thread that runs its loop.
class Run {
 public:
  Run(const std::vector<Problem>& problems,
      const HttpCall& base,
      const RequestOptions& options,
      const Clock& clock,
      const LoadGenerator::OnFinished& on_finished)
      : problems_(problems),
        base_(base),
        options_(options),
        clock_(clock),
        on_finished_(on_finished),
        requests_(problems.size()) {}

  LoadResult closed(std::int32_t concurrency) {
    start_ = clock_.now();
    for (std::int32_t i = 0; i < concurrency; ++i) spawn(worker());
    return finish();
  }

  LoadResult open(const std::vector<Duration>& arrivals) {
    start_ = clock_.now();
    for (std::size_t i = 0; i < problems_.size(); ++i) spawn(arrive(i, arrivals[i]));
    return finish();
  }

 private:
  void spawn(asio::awaitable<void> work) {
    asio::co_spawn(loop_, std::move(work), [this](std::exception_ptr failed) {
      if (failed && !failed_) failed_ = failed;
      if (failed) loop_.stop();
    });
  }

  LoadResult finish() {
    loop_.run();
    if (failed_) std::rethrow_exception(failed_);
    return {clock_.now() - start_, std::move(requests_)};
  }

  asio::awaitable<void> worker() {
    while (next_ < problems_.size()) {
      const std::size_t index = next_++;
      co_await ask(index, clock_.now() - start_);
    }
  }

  asio::awaitable<void> arrive(std::size_t index, Duration due) {
    asio::steady_timer timer(loop_, start_ + due);
    co_await timer.async_wait(asio::use_awaitable);
    co_await ask(index, due);
  }

  asio::awaitable<void> ask(std::size_t index, Duration due) {
    const Problem& problem = problems_[index];
    RequestTrace& trace = requests_[index];
    trace.id = problem.id;
    trace.task = problem.task;
    trace.due = due;
    bool has_usage = false;
    const OnEvent on_event = [&](std::string_view payload) {
      take(parse_stream_chunk(payload), trace, has_usage);
    };
    try {
      const HttpAnswer answer = co_await http_request(call_for(problem, options_, base_), on_event);
      judge(trace, answer, has_usage);
    } catch (const Error& error) {
      // The server's stream is none: an outcome of this request, not of the run.
      if (error.code() != ErrorCode::kTransport) throw;
      fail(trace, "protocol", error.what());
    }
    trace.ended = clock_.now() - start_ - due;
    if (trace.is_ok()) trace.is_right = grade(problem, trace.text);
    on_finished_(trace);
  }

  void take(const StreamChunk& chunk, RequestTrace& trace, bool& has_usage) const {
    if (chunk.error) return fail(trace, "error in the stream", *chunk.error);
    if (!chunk.text.empty() || chunk.num_tokens > 0) {
      trace.commits.push_back({clock_.now() - start_ - trace.due, chunk.num_tokens});
    }
    trace.text += chunk.text;
    if (chunk.finish_reason) trace.finish_reason = *chunk.finish_reason;
    if (chunk.usage) trace.usage = *chunk.usage;
    has_usage |= chunk.usage.has_value();
  }

  const std::vector<Problem>& problems_;
  const HttpCall& base_;
  const RequestOptions& options_;
  const Clock& clock_;
  const LoadGenerator::OnFinished& on_finished_;
  asio::io_context loop_{1};
  TimePoint start_;
  std::size_t next_ = 0;
  std::vector<RequestTrace> requests_;
  std::exception_ptr failed_;
};

}  // namespace

HttpCall call_for(const Problem& problem, const RequestOptions& options, const HttpCall& base) {
  const bool is_chat = problem.token_ids.empty();
  nlohmann::json body = {{"model", options.model},
                         {"stream", true},
                         {"stream_options", {{"include_usage", true}}},
                         {"return_token_ids", true}};
  if (is_chat) {
    body["messages"] = nlohmann::json::array({{{"role", "user"}, {"content", problem.question}}});
  } else {
    body["prompt"] = problem.token_ids;
  }
  if (options.max_tokens) body["max_tokens"] = *options.max_tokens;
  if (options.temperature) body["temperature"] = *options.temperature;
  if (options.top_p) body["top_p"] = *options.top_p;
  if (options.top_k) body["top_k"] = *options.top_k;
  if (options.seed) body["seed"] = *options.seed;
  if (options.ignore_eos) body["ignore_eos"] = true;
  if (!options.decoding.empty()) body["decoding"] = options.decoding;
  HttpCall call = base;
  call.target = is_chat ? "/v1/chat/completions" : "/v1/completions";
  call.body = body.dump();
  return call;
}

LoadResult LoadGenerator::run(const std::vector<Problem>& problems,
                              const LoadLevel& level,
                              std::uint64_t seed,
                              const OnFinished& on_finished) const {
  Run run(problems, base_, options_, clock_, on_finished);
  if (level.concurrency) return run.closed(*level.concurrency);
  return run.open(poisson_arrivals(problems.size(), level.rate.value(), seed));
}

}  // namespace tessera
