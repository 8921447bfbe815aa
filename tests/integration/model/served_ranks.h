#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "common/decoding/measurement.h"
#include "coordinator/scheduling/engine.h"
#include "tests/coordinator/scheduling/manual_clock.h"
#include "worker/runtime/model_executor.h"

namespace tessera {

/// What became of one request.
struct ServedSequence {
  std::vector<TokenId> tokens;            ///< Frozen ones, as they were streamed.
  std::vector<Measurement> measurements;  ///< Of all its steps, in order.
  SequenceUpdate last;
};

/// A coordinator's engine over one replica of a real model, all in this process: the ranks are
/// threads while a step runs.
class ServedRanks {
 public:
  struct Options {
    ModelExecutorOptions model;
    std::int32_t tp = 1;
    std::int32_t num_pages = 64;
    std::int32_t max_model_len = 512;
    EngineOptions engine;
  };

  explicit ServedRanks(const Options& options);

  /// Submits the requests together and runs them all to their ends. Ids must be new.
  /// @param first_loss  If > 0, the ranks are lost with all they hold in this step, and again and
  ///                    again at distances that grow: what begins again must come to its end.
  /// @throws Error{kInternal} if that takes more steps than progress could need.
  std::map<RequestId, ServedSequence> serve(const std::vector<SequenceRequest>& requests,
                                            std::int32_t first_loss = 0);

  EngineStats stats() const { return engine_.stats(); }

 private:
  void start_ranks();
  StepResult run(const StepPlan& plan);
  void take_updates(std::map<RequestId, ServedSequence>& served);

  Options options_;
  std::uint64_t epoch_ = 0;
  ManualClock clock_;
  Engine engine_;
  std::vector<std::unique_ptr<RankExecutor>> ranks_;
};

}  // namespace tessera
