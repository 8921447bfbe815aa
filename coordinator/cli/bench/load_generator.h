#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "common/base/clock.h"
#include "coordinator/cli/bench/bench_options.h"
#include "coordinator/cli/bench/level_summary.h"
#include "coordinator/cli/bench/problem.h"
#include "coordinator/cli/client/http_client.h"

namespace tessera {

/// Route and body of the request for a problem: a streamed chat of one question, or a streamed
/// completion of token ids. Asks for usage and token ids, which commits are counted by.
HttpCall call_for(const Problem& problem, const RequestOptions& options, const HttpCall& base);

/// What a run of requests looked like.
struct LoadResult {
  Duration wall{};
  std::vector<RequestTrace> requests;  ///< In the order of the problems.
};

/// Sends requests and reads their streams, all on the calling thread.
///
/// Closed loop: `concurrency` requests are open until none is left. Open loop: each request starts
/// at its arrival, whatever became of the ones before. Failures are outcomes of their requests.
class LoadGenerator {
 public:
  /// @param base  Server, key and timeout of every call.
  LoadGenerator(HttpCall base, const RequestOptions& options, const Clock& clock)
      : base_(std::move(base)), options_(options), clock_(clock) {}

  /// Called after every request.
  using OnFinished = std::function<void(const RequestTrace&)>;

  /// @param seed  Of the arrivals.
  LoadResult run(const std::vector<Problem>& problems,
                 const LoadLevel& level,
                 std::uint64_t seed,
                 const OnFinished& on_finished) const;

 private:
  HttpCall base_;
  const RequestOptions& options_;
  const Clock& clock_;
};

}  // namespace tessera
