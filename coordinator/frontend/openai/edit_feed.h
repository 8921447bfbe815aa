#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "coordinator/request/sequence_update.h"
#include "coordinator/text/tokenizer.h"

namespace tessera {

/// The provisional side of one choice for decoding.stream = "edits": collects what steps wrote and
/// renders it as the events of docs/streaming.md.
///
/// Between two take() calls a position keeps its last write only, and beyond kMaxPending positions
/// all of them are replaced by one snapshot: memory is bounded by the open blocks, however slow the
/// client is. Positions are relative to the start of the output.
///
/// Owned by the server's thread; borrows the tokenizer.
class EditFeed {
 public:
  static constexpr std::size_t kMaxPending = 256;

  struct Geometry {
    std::int32_t choice = 0;
    std::int32_t prompt_len = 0;
    std::int32_t block_size = 1;
    std::int32_t max_output = 0;  ///< No position at or behind it is written.
  };

  EditFeed(const Tokenizer& tokenizer, const Geometry& geometry)
      : tokenizer_(tokenizer), geometry_(geometry) {}

  /// @param num_frozen  Output tokens frozen after this update.
  void push(const SequenceUpdate& update, std::int32_t num_frozen);

  /// Events in order, numbered from next_seq on, which is moved past them.
  /// @param is_end  The choice has ended: positions that are open still will never be output.
  std::vector<nlohmann::ordered_json> take(std::int64_t& next_seq, bool is_end);

 private:
  nlohmann::ordered_json event(const char* type, std::int64_t& next_seq) const;
  void open_blocks(std::int32_t last_open,
                   std::vector<nlohmann::ordered_json>& events,
                   std::int64_t& next_seq);
  void render_writes(std::vector<nlohmann::ordered_json>& events, std::int64_t& next_seq);
  std::string text_of(TokenId id) const;
  std::int32_t end_of_block(std::int32_t start) const;

  const Tokenizer& tokenizer_;
  Geometry geometry_;
  std::map<std::int32_t, TokenWrite> provisional_;  ///< By output position, from num_frozen_ on.
  std::map<std::int32_t, TokenWrite> pending_;      ///< Not rendered yet.
  bool needs_snapshot_ = false;
  std::int32_t num_steps_ = 0;
  std::int32_t num_frozen_ = 0;
  std::int32_t num_committed_ = 0;  ///< As rendered.
  std::int32_t opened_end_ = 0;     ///< Output positions of rendered blocks.
  std::int32_t num_opened_ = 0;
};

}  // namespace tessera
