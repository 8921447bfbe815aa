#include "benchmarks/serving/cluster_times.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <zmq.hpp>

#include "benchmarks/serving/zero_layer_executor.h"
#include "common/base/error.h"
#include "coordinator/cluster/engine_thread.h"
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

/// The life of the rank process: waits for the endpoint in the pipe, then runs the rank loop.
int run_rank_process(int pipe, std::int32_t num_pages, const SharedStepLog& log) {
  std::array<char, 256> endpoint{};
  const ssize_t num_read = ::read(pipe, endpoint.data(), endpoint.size() - 1);
  TESSERA_CHECK(num_read > 0, "no endpoint for the rank");
  ZeroLayerExecutor executor(
      num_pages, [&](std::uint64_t) { log->begin_ns[log->count % StepLog::kCapacity] = now_ns(); },
      [&](std::uint64_t) {
        log->end_ns[log->count % StepLog::kCapacity] = now_ns();
        ++log->count;
      });
  RankLoopOptions options;
  options.coordinator = endpoint.data();
  options.job_id = "overhead";
  options.host = "here";
  zmq::context_t context;
  run_rank(context, options, executor, [](const std::string&) {});
  return 0;
}

/// A rank in a process of its own, which ends when the coordinator shuts down.
class RankProcess {
 public:
  RankProcess(std::int32_t num_pages, const SharedStepLog& log) {
    TESSERA_CHECK(::pipe(pipe_.data()) == 0, "no pipe");
    pid_ = ::fork();
    TESSERA_CHECK(pid_ >= 0, "no process");
    if (pid_ == 0) {
      ::close(pipe_[1]);
      ::_exit(run_rank_process(pipe_[0], num_pages, log));
    }
    ::close(pipe_[0]);
  }
  ~RankProcess() {
    ::close(pipe_[1]);
    ::waitpid(pid_, nullptr, 0);
  }
  RankProcess(const RankProcess&) = delete;
  RankProcess& operator=(const RankProcess&) = delete;

  void connect_to(const std::string& endpoint) const {
    const auto size = static_cast<ssize_t>(endpoint.size());
    TESSERA_CHECK(::write(pipe_[1], endpoint.data(), endpoint.size()) == size, "the pipe is cut");
  }

 private:
  std::array<int, 2> pipe_{};
  pid_t pid_ = 0;
};

/// Takes the news as the front end does, and waits for every request to decode.
class DecodingSink final : public UpdateSink {
 public:
  void on_updates(std::vector<SequenceUpdate> updates) override {
    const std::lock_guard lock(mutex_);
    for (const SequenceUpdate& update : updates) {
      TESSERA_CHECK(!update.is_last(), "a request ended while it was measured");
      decoding_.insert(update.id);
    }
    changed_.notify_all();
  }

  void await_decoding(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return decoding_.size() >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<RequestId> decoding_;
};

}  // namespace

ClusterTimes measure_cluster(const OverheadLoad& load, const std::string& endpoint) {
  const SharedStepLog log;
  const RankProcess rank(load.num_pages(), log);  // before the first thread: it forks
  const SystemClock clock;
  DecodingSink sink;
  ClusterOptions options;
  options.page_size = kOverheadPageSize;
  options.max_running_requests = load.num_requests;
  options.max_step_rows = load.engine_options().max_step_rows;
  options.max_model_len = load.max_model_len();
  EngineThread engine(load.engine_options(), options, endpoint, sink, clock,
                      [](const ClusterEvent&) {});
  engine.start();
  rank.connect_to(engine.endpoint());
  const auto strategy = load.strategy();
  for (std::int32_t i = 1; i <= load.num_requests; ++i) {
    engine.submit(load.request(static_cast<RequestId>(i), strategy));
  }
  sink.await_decoding(static_cast<std::size_t>(load.num_requests));
  const std::size_t first = log->count;
  const std::size_t last = first + static_cast<std::size_t>(load.num_steps);
  while (log->count <= last) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ClusterTimes times;
  for (std::size_t i = first; i < last; ++i) {
    const std::size_t at = i % StepLog::kCapacity, next = (i + 1) % StepLog::kCapacity;
    times.step.push_back(1e-3 * static_cast<double>(log->begin_ns[next] - log->begin_ns[at]));
    times.executor.push_back(1e-3 * static_cast<double>(log->end_ns[at] - log->begin_ns[at]));
  }
  engine.stop();
  return times;
}

}  // namespace tessera
