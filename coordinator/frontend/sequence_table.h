#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "coordinator/request/sequence_update.h"

namespace tessera {

/// Hears the updates of the sequences it entered into the table.
class UpdateListener {
 public:
  virtual ~UpdateListener() = default;

  /// @param choice  As given to SequenceTable::enter.
  virtual void on_update(std::int32_t choice, const SequenceUpdate& update) = 0;
};

/// Who waits for which sequence. Owned by the server's thread.
class SequenceTable {
 public:
  /// @return The id of a new sequence, unique in the life of the process.
  RequestId enter(UpdateListener& listener, std::int32_t choice) {
    listeners_.emplace(++last_id_, Entry{&listener, choice});
    return last_id_;
  }

  /// Updates of the sequence are ignored from now on.
  void leave(RequestId id) { listeners_.erase(id); }

  void dispatch(const std::vector<SequenceUpdate>& updates) {
    for (const SequenceUpdate& update : updates) {
      const auto entry = listeners_.find(update.id);
      if (entry == listeners_.end()) continue;  // its client is gone or has its stop string
      const Entry found = entry->second;
      if (update.is_last()) listeners_.erase(entry);
      found.listener->on_update(found.choice, update);
    }
  }

  /// The last update of every sequence, from elsewhere than the engine.
  void fail_all(const SequenceFailure& failure) {
    std::vector<SequenceUpdate> updates;
    for (const auto& [id, entry] : listeners_) {
      SequenceUpdate& update = updates.emplace_back();
      update.id = id;
      update.failure = failure;
    }
    dispatch(updates);
  }

  bool contains(RequestId id) const { return listeners_.contains(id); }
  std::size_t size() const noexcept { return listeners_.size(); }

 private:
  struct Entry {
    UpdateListener* listener;
    std::int32_t choice;
  };

  std::unordered_map<RequestId, Entry> listeners_;
  RequestId last_id_ = 0;
};

}  // namespace tessera
