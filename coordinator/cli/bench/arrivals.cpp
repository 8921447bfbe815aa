#include "coordinator/cli/bench/arrivals.h"

#include <cmath>
#include <random>

#include "common/base/error.h"

namespace tessera {

std::vector<Duration> poisson_arrivals(std::size_t count, double rate, std::uint64_t seed) {
  TESSERA_REQUIRE(rate > 0.0 && std::isfinite(rate), "rate is ", rate, "; allowed: above 0");
  // std::exponential_distribution may differ between standard libraries; this may not.
  std::mt19937_64 generator(seed);
  std::vector<Duration> arrivals;
  double seconds = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    const double uniform = (static_cast<double>(generator() >> 11) + 0.5) * 0x1p-53;
    seconds -= std::log(uniform) / rate;
    arrivals.push_back(
        std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds)));
  }
  return arrivals;
}

}  // namespace tessera
