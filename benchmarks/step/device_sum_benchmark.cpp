// Time of a sum over ranks that stays on GPUs, by size: in one round and in two, queued one by one
// and from a CUDA graph, and through host memory. The floor is what has to travel, 2 (n - 1) / n of
// the values, at the rate of a large all-gather of NCCL.
//
//   mpirun -n 2 --bind-to none build/release/bin/device_sum_benchmark [LARGEST_MIB]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "kernels/backend_registry.h"
#include "worker/comm/create_communicator.h"
#include "worker/comm/device_sum.h"
#include "worker/comm/nccl_exchange.h"
#include "worker/runtime/mpi_session.h"

namespace tessera {
namespace {

using Microseconds = std::chrono::duration<double, std::micro>;

constexpr std::int64_t kSmallest = 16 << 10;
constexpr std::int64_t kLargestMib = 128;
constexpr int kRepeats = 5;

class SumBenchmark {
 public:
  SumBenchmark(const MpiSession& mpi, const HostRanks& hosts, std::int64_t largest)
      : largest_(largest),
        backend_(create_backend(hosts.local_rank)),
        communicator_(create_communicator(mpi.communicator(), "auto", hosts, {})),
        exchange_(*communicator_, *backend_, std::chrono::seconds(60)),
        sum_(exchange_, *backend_, largest_ / 4),
        staged_(create_tensor_sum(*communicator_, nullptr, *backend_, largest_ / 4)),
        values_(backend_->allocate(largest_)),
        parts_(backend_->allocate(largest_ * communicator_->size())) {}

  void run() {
    const std::int64_t ranks = communicator_->size();
    const std::int64_t floats = largest_ / 4;
    const double gather_us = graph_us(4, [&] { gather(floats); });
    const double bytes_per_us = static_cast<double>((ranks - 1) * largest_) / gather_us;
    print("%ld ranks, %s; all-gather of %ld MiB each: %.1f GB/s into a rank\n\n", long{ranks},
          std::string(backend_->device_name()).c_str(), long{largest_ >> 20}, bytes_per_us / 1e3);
    print("| bytes | floor us | graph us | ratio | one round | two rounds | eager | host |\n");
    print("|---|---|---|---|---|---|---|---|\n");
    for (std::int64_t bytes = kSmallest; bytes <= largest_; bytes *= 2) {
      run_size(bytes, bytes_per_us);
    }
    communicator_->barrier();  // nobody leaves before all have their sums
  }

 private:
  static std::unique_ptr<kernels::Backend> create_backend(std::int32_t device) {
    kernels::BackendOptions options;
    options.device = device;
    return kernels::create_backend("cuda", options);
  }

  void run_size(std::int64_t bytes, double bytes_per_us) {
    const std::int64_t ranks = communicator_->size();
    const std::int64_t count = bytes / 4;
    const auto values = values_.values<float>().first(static_cast<std::size_t>(count));
    const int calls = static_cast<int>(std::clamp<std::int64_t>(largest_ / bytes, 4, 100));
    const double floor =
        static_cast<double>(2 * (ranks - 1) * bytes) / static_cast<double>(ranks) / bytes_per_us;
    const double graph = graph_us(calls, [&] { sum_.all_reduce_tree(values); });
    const double one = graph_us(calls, [&] { one_round(count); });
    const double two = graph_us(calls, [&] { two_rounds(count); });
    const double eager = eager_us(calls, [&] { sum_.all_reduce_tree(values); });
    const double host = eager_us(std::min(calls, 8), [&] { staged_->all_reduce_tree(values); });
    print("| %ld | %.1f | %.1f | %.2f | %.1f | %.1f | %.1f | %.1f |\n", long{bytes}, floor, graph,
          graph / floor, one, two, eager, host);
  }

  void gather(std::int64_t count) {
    exchange_.all_gather(values_.as<float>(), parts_.as<float>(), count);
  }
  void one_round(std::int64_t count) {
    gather(count);
    backend_->sum_parts({parts_.data(), DType::kFloat32, communicator_->size(), count, count},
                        values_.values<float>().first(static_cast<std::size_t>(count)));
  }
  void two_rounds(std::int64_t count) {
    const std::int64_t slice = count / communicator_->size();
    float* own = values_.as<float>() + communicator_->rank() * slice;
    exchange_.exchange(values_.as<float>(), parts_.as<float>(), slice);
    backend_->sum_parts({parts_.data(), DType::kFloat32, communicator_->size(), slice, slice},
                        {own, static_cast<std::size_t>(slice)});
    exchange_.all_gather(own, values_.as<float>(), slice);
  }

  void wait() {
    float first = 0.0F;
    backend_->download(values_.data(), &first, sizeof(first));
  }

  // Of one call, of `calls` that are queued together: the best of some rounds, the slowest rank's.
  double time_us(int calls, const std::function<void()>& queue_all) {
    double best = std::numeric_limits<double>::max();
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      wait();
      communicator_->barrier();
      const auto begin = std::chrono::steady_clock::now();
      queue_all();
      wait();
      double mine = Microseconds(std::chrono::steady_clock::now() - begin).count() / calls;
      std::vector<double> all(static_cast<std::size_t>(communicator_->size()));
      all_gather_values<double>(*communicator_, {&mine, 1}, all);
      best = std::min(best, *std::max_element(all.begin(), all.end()));
    }
    return best;
  }

  double eager_us(int calls, const std::function<void()>& call) {
    return time_us(calls, [&] {
      for (int i = 0; i < calls; ++i) call();
    });
  }

  double graph_us(int calls, const std::function<void()>& call) {
    call();
    wait();
    const auto graph = backend_->capture([&] {
      for (int i = 0; i < calls; ++i) call();
    });
    return time_us(calls, [&] { graph->launch(); });
  }

  template <typename... Values>
  void print(const char* format, Values... values) const {
    if (communicator_->rank() == 0) std::printf(format, values...);
    std::fflush(stdout);
  }

  std::int64_t largest_;  // bytes
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<Communicator> communicator_;
  NcclExchange exchange_;
  DeviceSum sum_;
  std::unique_ptr<TensorSum> staged_;
  kernels::Buffer values_;
  kernels::Buffer parts_;
};

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  tessera::MpiSession mpi(/*is_launcher=*/false);
  try {
    const tessera::HostRanks hosts = tessera::find_host_ranks(mpi.communicator());
    TESSERA_REQUIRE(mpi.size() > 1, "start it with mpirun -n 2, 4 or 8");
    const std::int64_t mib = argc > 1 ? std::atoi(argv[1]) : tessera::kLargestMib;
    tessera::SumBenchmark(mpi, hosts, mib << 20).run();
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "device_sum_benchmark: %s\n", error.what());
    tessera::MpiSession::abort(tessera::worker_exit_of(error.code()));
  }
}
