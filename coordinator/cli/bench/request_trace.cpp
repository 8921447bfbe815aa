#include "coordinator/cli/bench/request_trace.h"

namespace tessera {

double milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

RequestFigures figures_of(const RequestTrace& trace) {
  RequestFigures figures;
  const auto num_tokens = static_cast<double>(trace.usage.completion_tokens);
  figures.e2e_ms = milliseconds(trace.ended);
  if (figures.e2e_ms > 0.0) figures.tokens_per_second = num_tokens / figures.e2e_ms * 1e3;
  if (trace.usage.nfe > 0) {
    figures.nfe = static_cast<double>(trace.usage.nfe);
    figures.tokens_per_forward = num_tokens / *figures.nfe;
  }
  if (trace.commits.empty()) return figures;

  const Commit& first = trace.commits.front();
  figures.ttfc_ms = milliseconds(first.at);
  figures.first_commit_tokens = first.num_tokens;
  for (std::size_t i = 0; i < trace.commits.size(); ++i) {
    figures.commit_tokens.push_back(trace.commits[i].num_tokens);
    if (i == 0) continue;
    figures.icl_ms.push_back(milliseconds(trace.commits[i].at - trace.commits[i - 1].at));
  }
  const double later_tokens = num_tokens - first.num_tokens;
  if (trace.commits.size() > 1 && later_tokens > 0) {
    figures.tpot_ms = (figures.e2e_ms - *figures.ttfc_ms) / later_tokens;
  }
  return figures;
}

}  // namespace tessera
