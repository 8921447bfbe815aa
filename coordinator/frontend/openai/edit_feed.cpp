#include "coordinator/frontend/openai/edit_feed.h"

#include <algorithm>
#include <cmath>

namespace tessera {

using nlohmann::ordered_json;

void EditFeed::push(const SequenceUpdate& update, std::int32_t num_frozen) {
  num_steps_ = update.num_steps;
  num_frozen_ = num_frozen;
  for (const TokenWrite& write : update.writes) {
    const std::int32_t position = write.position - geometry_.prompt_len;
    pending_.insert_or_assign(position, write);
    provisional_.insert_or_assign(position, write);
  }
  provisional_.erase(provisional_.begin(), provisional_.lower_bound(num_frozen_));
  if (pending_.size() > kMaxPending) {
    pending_.clear();
    needs_snapshot_ = true;
  }
}

std::vector<ordered_json> EditFeed::take(std::int64_t& next_seq, bool is_end) {
  std::vector<ordered_json> events;
  // When everything before a block is frozen it is open, unless the output ends there.
  open_blocks(is_end ? num_frozen_ - 1 : num_frozen_, events, next_seq);
  render_writes(events, next_seq);
  if (num_frozen_ > num_committed_) {
    num_committed_ = num_frozen_;
    ordered_json commit = event("commit", next_seq);
    commit["upto"] = num_committed_;
    events.push_back(std::move(commit));
  }
  if (is_end && opened_end_ > num_frozen_) {
    ordered_json drop = event("drop", next_seq);
    drop["from"] = num_frozen_;
    events.push_back(std::move(drop));
  }
  return events;
}

ordered_json EditFeed::event(const char* type, std::int64_t& next_seq) const {
  return {{"type", type}, {"seq", next_seq++}, {"index", geometry_.choice}, {"nfe", num_steps_}};
}

std::string EditFeed::text_of(TokenId id) const {
  return tokenizer_.decode(std::span<const TokenId>(&id, 1));
}

// The block grid starts at the prompt's first token: the first output block may be a part of one.
std::int32_t EditFeed::end_of_block(std::int32_t start) const {
  const std::int32_t absolute = geometry_.prompt_len + start;
  const std::int32_t end = (absolute / geometry_.block_size + 1) * geometry_.block_size;
  return std::min(end - geometry_.prompt_len, geometry_.max_output);
}

// Updates do not say when a block entered the buffer. It did when it is written, and when
// everything before it is frozen.
void EditFeed::open_blocks(std::int32_t last_open,
                           std::vector<ordered_json>& events,
                           std::int64_t& next_seq) {
  const std::int32_t last_write = pending_.empty() ? -1 : pending_.rbegin()->first;
  const std::int32_t last_provisional = provisional_.empty() ? -1 : provisional_.rbegin()->first;
  const std::int32_t reached = std::max({last_write, last_provisional, last_open});
  while (opened_end_ <= reached && opened_end_ < geometry_.max_output) {
    const std::int32_t end = end_of_block(opened_end_);
    ordered_json open = event("open", next_seq);
    open["block"] = num_opened_++;
    open["start"] = opened_end_;
    open["len"] = end - opened_end_;
    events.push_back(std::move(open));
    opened_end_ = end;
  }
}

void EditFeed::render_writes(std::vector<ordered_json>& events, std::int64_t& next_seq) {
  if (needs_snapshot_) {
    ordered_json snapshot = event("snapshot", next_seq);
    snapshot["from"] = num_frozen_;
    snapshot["ids"] = ordered_json::array();
    snapshot["text"] = ordered_json::array();
    for (std::int32_t position = num_frozen_; position < opened_end_; ++position) {
      const auto write = provisional_.find(position);
      const bool is_masked = write == provisional_.end();
      snapshot["ids"].push_back(is_masked ? ordered_json() : ordered_json(write->second.token));
      snapshot["text"].push_back(is_masked ? ordered_json()
                                           : ordered_json(text_of(write->second.token)));
    }
    events.push_back(std::move(snapshot));
  } else if (!pending_.empty()) {
    ordered_json set = event("set", next_seq);
    for (const char* list : {"pos", "ids", "text", "conf"}) set[list] = ordered_json::array();
    for (const auto& [position, write] : pending_) {
      set["pos"].push_back(position);
      set["ids"].push_back(write.token);
      set["text"].push_back(text_of(write.token));
      set["conf"].push_back(std::round(static_cast<double>(write.confidence) * 1e4) / 1e4);
    }
    events.push_back(std::move(set));
  }
  pending_.clear();
  needs_snapshot_ = false;
}

}  // namespace tessera
