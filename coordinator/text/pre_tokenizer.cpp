#include "coordinator/text/pre_tokenizer.h"

namespace tessera {
namespace {

// One stretch of the text: a match or what is between two.
struct Segment {
  TextRange range;
  bool is_match = false;
};

// Calls `take` for matches and gaps in order, together the whole text. Empty ones are left out
// except empty matches, which still separate.
template <typename Take>
void for_each_segment(std::string_view text, const std::vector<TextRange>& matches, Take take) {
  std::size_t end = 0;
  for (const TextRange& match : matches) {
    if (end < match.begin) take(Segment{{end, match.begin}, false});
    take(Segment{match, true});
    end = match.end;
  }
  if (end < text.size()) take(Segment{{end, text.size()}, false});
}

// Joins segments into pieces. `tokenizers` states the behaviours on lists; this is their one-pass
// form. `open` is the piece being collected.
class PieceCollector {
 public:
  PieceCollector(SplitBehavior behavior, std::string_view text, std::vector<std::string_view>& out)
      : behavior_(behavior), text_(text), out_(out) {}

  void take(const Segment& segment) {
    switch (behavior_) {
      case SplitBehavior::kRemoved:
        if (!segment.is_match) emit(segment.range);
        return;
      case SplitBehavior::kIsolated: emit(segment.range); return;
      case SplitBehavior::kMergedWithPrevious:
        extend_if(segment.is_match && !last_was_match_, segment);
        return;
      case SplitBehavior::kMergedWithNext:
        extend_if(last_was_match_ && !segment.is_match, segment);
        return;
      case SplitBehavior::kContiguous: extend_if(segment.is_match == last_was_match_, segment);
    }
  }

  void finish() { emit(open_); }

 private:
  void extend_if(bool joins, const Segment& segment) {
    if (joins && has_open_) {
      open_.end = segment.range.end;
    } else {
      emit(open_);
      open_ = segment.range;
      has_open_ = true;
    }
    last_was_match_ = segment.is_match;
  }

  void emit(TextRange range) {
    if (range.begin < range.end) out_.push_back(text_.substr(range.begin, range.end - range.begin));
  }

  SplitBehavior behavior_;
  std::string_view text_;
  std::vector<std::string_view>& out_;
  TextRange open_;
  bool has_open_ = false;
  bool last_was_match_ = false;
};

void run(const SplitStep& step, PreTokenizer::Workspace& work) {
  work.next.clear();
  for (const std::string_view word : work.words) {
    work.matches.clear();
    step.pattern.find_all(word, work.matches);
    PieceCollector pieces(step.behavior, word, work.next);
    for_each_segment(word, work.matches, [&](Segment segment) {
      segment.is_match = segment.is_match != step.invert;
      pieces.take(segment);
    });
    pieces.finish();
  }
  work.words.swap(work.next);
}

void run(const PrefixSpaceStep&, PreTokenizer::Workspace& work) {
  for (std::string_view& word : work.words) {
    if (word.front() != ' ') word = work.storage.emplace_back(" " + std::string(word));
  }
}

}  // namespace

void PreTokenizer::split(std::string_view text, Workspace& work) const {
  work.words.clear();
  work.storage.clear();
  if (text.empty()) return;
  work.words.push_back(text);
  for (const PreTokenizerStep& step : steps_) {
    std::visit([&](const auto& s) { run(s, work); }, step);
  }
}

}  // namespace tessera
