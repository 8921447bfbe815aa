#include "coordinator/request/request_record.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace tessera {

void RequestRecord::stop_running() {
  replica.reset();
  pages.clear();
  num_registered_pages = num_sent_pages = num_prefill_pages = 0;
  stored_len = piece_end = 0;
  rebuild.clear();
  forward.reset();
  is_known_to_ranks = false;
}

SequenceUpdate RequestRecord::take_news() {
  Position end = sequence.frontier;
  if (sequence.finish) end = std::min(end, sequence.output_end);
  TESSERA_CHECK(end >= reported_end, "request ", id(), ": output ends at ", end, " after ",
                reported_end, " was reported");
  SequenceUpdate update;
  update.id = id();
  update.frozen.assign(sequence.tokens.begin() + reported_end, sequence.tokens.begin() + end);
  update.num_steps = sequence.num_steps;
  update.finish = sequence.finish;
  reported_end = end;
  usage.output_tokens = end - sequence.prompt_len;
  usage.num_steps = sequence.num_steps;
  update.usage = usage;
  return update;
}

SequenceUpdate RequestRecord::failed(SequenceFailure failure) const {
  SequenceUpdate update;
  update.id = id();
  update.num_steps = sequence.num_steps;
  update.failure = std::move(failure);
  update.usage = usage;
  return update;
}

}  // namespace tessera
