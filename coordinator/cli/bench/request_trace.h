#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "coordinator/cli/client/stream_chunk.h"

namespace tessera {

/// Text that became visible at once: one chunk of a stream. Blocks freeze several tokens together,
/// which is why commits are timed and not tokens.
struct Commit {
  Duration at{};  ///< Since the request was due.
  std::int32_t num_tokens = 0;
};

/// What a client saw of one request, from the moment it was due (in an open loop that is its
/// arrival, even when the client was late) to its end.
struct RequestTrace {
  std::string id;
  std::string task;
  Duration due{};    ///< Since the level began.
  Duration ended{};  ///< Since it was due.
  std::vector<Commit> commits;
  std::string text;
  std::string finish_reason;
  StreamUsage usage;
  std::string failure;         ///< Kind: "HTTP 429 queue_full", "connection"; empty: it succeeded.
  std::string failure_detail;  ///< The message that came with it.
  std::optional<bool> is_right;  ///< None where the problem has no answer, or on failure.

  bool is_ok() const { return failure.empty(); }
};

/// Figures of one successful request; absent where the request does not define them.
struct RequestFigures {
  std::optional<double> ttfc_ms;  ///< Due to first commit.
  std::optional<double> first_commit_tokens;
  std::vector<double> icl_ms;         ///< Between commits, one less than there are commits.
  std::vector<double> commit_tokens;  ///< Of every commit.
  std::optional<double> tpot_ms;      ///< Time per token behind the first commit; two commits on.
  double e2e_ms = 0.0;
  double tokens_per_second = 0.0;            ///< Tokens over e2e: what one user gets.
  std::optional<double> tokens_per_forward;  ///< If the server reports its forwards.
  std::optional<double> nfe;
};

double milliseconds(Duration duration);

RequestFigures figures_of(const RequestTrace& trace);

}  // namespace tessera
