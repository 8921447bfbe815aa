#include "benchmarks/serving/cluster_times.h"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <zmq.hpp>

#include "benchmarks/serving/child_process.h"
#include "benchmarks/serving/stream_clients.h"
#include "benchmarks/serving/zero_layer_executor.h"
#include "common/base/error.h"
#include "coordinator/cluster/engine_thread.h"
#include "coordinator/frontend/frontend.h"
#include "coordinator/text/text_model.h"
#include "worker/runtime/rank_loop.h"

namespace tessera {
namespace {

/// Times of the rank's steps, in memory that both processes see.
struct StepLog {
  static constexpr std::size_t kCapacity = 1 << 20;
  std::atomic<std::size_t> count;
  std::array<std::int64_t, kCapacity> begin_ns;
  std::array<std::int64_t, kCapacity> end_ns;
};

class SharedStepLog {
 public:
  SharedStepLog()
      : log_(static_cast<StepLog*>(::mmap(
            nullptr, sizeof(StepLog), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    TESSERA_CHECK(log_ != MAP_FAILED, "no shared memory");
  }
  ~SharedStepLog() { ::munmap(log_, sizeof(StepLog)); }
  SharedStepLog(const SharedStepLog&) = delete;
  SharedStepLog& operator=(const SharedStepLog&) = delete;

  StepLog* operator->() const { return log_; }

 private:
  StepLog* log_;
};

std::int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

/// The life of the rank process.
void run_rank_process(const std::string& endpoint,
                      std::int32_t num_pages,
                      const SharedStepLog& log) {
  ZeroLayerExecutor executor(
      num_pages, [&](std::uint64_t) { log->begin_ns[log->count % StepLog::kCapacity] = now_ns(); },
      [&](std::uint64_t) {
        log->end_ns[log->count % StepLog::kCapacity] = now_ns();
        ++log->count;
      });
  RankLoopOptions options;
  options.coordinator = endpoint;
  options.job_id = "overhead";
  options.host = "here";
  zmq::context_t context;
  run_rank(context, options, executor, [](const std::string&) {});
}

/// Waits for every request to decode, and hands the news on.
class DecodingSink final : public UpdateSink {
 public:
  explicit DecodingSink(UpdateSink* next) : next_(next) {}

  void on_updates(std::vector<SequenceUpdate> updates) override {
    {
      const std::lock_guard lock(mutex_);
      for (const SequenceUpdate& update : updates) decoding_.insert(update.id);
      changed_.notify_all();
    }
    if (next_ != nullptr) next_->on_updates(std::move(updates));
  }

  void await_decoding(std::int32_t count) {
    std::unique_lock lock(mutex_);
    const bool is_decoding = changed_.wait_for(lock, std::chrono::seconds(30),
                                               [&] { return std::ssize(decoding_) >= count; });
    TESSERA_CHECK(is_decoding, decoding_.size(), " of ", count, " requests decode after 30 s");
  }

 private:
  UpdateSink* next_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<RequestId> decoding_;
};

FrontendOptions frontend_options(const OverheadLoad& load) {
  FrontendOptions options;
  options.port = 0;
  options.version = "overhead";
  options.unix_seconds = [] { return std::int64_t{0}; };
  options.model.name = "zero layers";
  options.model.facts = load.facts();
  options.model.text = std::make_shared<const TextModel>(
      load_text(std::filesystem::path(TESSERA_SOURCE_DIR) / "deploy/models/tiny-sdar"));
  options.model.page_size = kOverheadPageSize;
  options.model.max_model_len = load.max_model_len();
  options.model.strategy = load.strategy_name();
  options.model.strategy_options = load.strategy_options();
  return options;
}

ClusterOptions cluster_options(const OverheadLoad& load) {
  ClusterOptions options;
  options.page_size = kOverheadPageSize;
  options.max_running_requests = load.num_requests;
  options.max_step_rows = load.engine_options().max_step_rows;
  options.max_model_len = load.max_model_len();
  return options;
}

/// The next `num_steps` steps of the log, once they have run.
ClusterTimes read_steps(const SharedStepLog& log, std::int32_t num_steps) {
  const std::size_t first = log->count;
  const std::size_t last = first + static_cast<std::size_t>(num_steps);
  while (log->count <= last) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ClusterTimes times;
  for (std::size_t i = first; i < last; ++i) {
    const std::size_t at = i % StepLog::kCapacity, next = (i + 1) % StepLog::kCapacity;
    times.step.push_back(1e-3 * static_cast<double>(log->begin_ns[next] - log->begin_ns[at]));
    times.executor.push_back(1e-3 * static_cast<double>(log->end_ns[at] - log->begin_ns[at]));
  }
  return times;
}

}  // namespace

ClusterTimes measure_cluster(const OverheadLoad& load, const std::string& endpoint) {
  const SharedStepLog log;
  ChildProcess rank(
      [&](const std::string& address) { run_rank_process(address, load.num_pages(), log); });
  const SystemClock clock;
  DecodingSink sink(nullptr);
  EngineThread engine(load.engine_options(), cluster_options(load), endpoint, sink, clock,
                      [](const ClusterEvent&) {});
  engine.start();
  rank.send(engine.endpoint());
  const auto strategy = load.strategy();
  for (std::int32_t i = 1; i <= load.num_requests; ++i) {
    engine.submit(load.request(static_cast<RequestId>(i), strategy));
  }
  sink.await_decoding(load.num_requests);
  const ClusterTimes times = read_steps(log, load.num_steps);
  engine.stop();
  return times;
}

ClusterTimes measure_server(const OverheadLoad& load, const std::string& endpoint) {
  const SharedStepLog log;
  ChildProcess rank(
      [&](const std::string& address) { run_rank_process(address, load.num_pages(), log); });
  ChildProcess clients([&](const std::string& port) { read_streams(load, port); });
  const SystemClock clock;
  Frontend frontend(frontend_options(load), clock);
  DecodingSink sink(&frontend);
  EngineThread engine(load.engine_options(), cluster_options(load), endpoint, sink, clock,
                      [](const ClusterEvent&) {});
  engine.start();
  frontend.start(engine, [&] { return engine.metrics(); });
  rank.send(engine.endpoint());
  while (engine.status().state != ServerState::kReady) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  clients.send(std::to_string(frontend.port()));
  sink.await_decoding(load.num_requests);
  const ClusterTimes times = read_steps(log, load.num_steps);
  frontend.stop();
  engine.stop();
  return times;
}

}  // namespace tessera
