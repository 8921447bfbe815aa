#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/types.h"
#include "common/decoding/step_plan.h"
#include "coordinator/kv/page_allocator.h"
#include "coordinator/kv/prefix_cache.h"
#include "coordinator/request/request_record.h"

namespace tessera {

/// Pages that already hold what a request would have to compute.
struct PrefixHit {
  std::vector<PageId> pages;
  std::int32_t num_unreferenced = 0;  ///< Of those, pages nobody else holds.
};

/// Keeps the page tables of the requests that run on one replica: pages for exactly what they
/// store, shared where the content is known. Leading pages of a table that are registered are
/// final and perhaps shared; the pages behind them are private.
class PageTables {
 public:
  PageTables(std::int32_t num_pages, std::int32_t page_size, bool prefix_cache);
  PageTables(const PageTables&) = delete;  // the cache borrows the allocator
  PageTables& operator=(const PageTables&) = delete;

  /// What `record` could take from the cache if it were admitted now.
  PrefixHit find_prefix(const RequestRecord& record) const;

  /// Begins the table of `record` with the pages of a hit. Call before anything is allocated.
  void attach(RequestRecord& record, const PrefixHit& hit);

  /// Makes the table reach over the stored rows of `span` left of `end`.
  /// @return False, with nothing changed, if there are not enough pages.
  [[nodiscard]] bool cover(RequestRecord& record, const Span& span, Position end);

  /// Registers the pages whose content has become final.
  /// @return Whether pages were given back because their content was known already.
  bool register_final(RequestRecord& record);

  /// Takes all pages from the request.
  void release(RequestRecord& record);

  /// What the ranks do not know yet of the table; none if nothing.
  std::optional<PageTableDelta> take_delta(RequestRecord& record) const;

  std::int32_t num_pages_for(std::int32_t num_tokens) const {
    return (num_tokens + page_size_ - 1) / page_size_;
  }

  const PageAllocator& allocator() const { return allocator_; }
  const PrefixCache& cache() const { return cache_; }

  /// Throws Error{kInternal} if a page is leaked, or written by one while another holds it.
  /// @param records  All that run on this replica.
  void check_integrity(const std::vector<RequestRecord*>& records) const;

 private:
  const PrefixRule* rule_of(const RequestRecord& record) const;

  std::int32_t page_size_;
  bool prefix_cache_;
  PageAllocator allocator_;
  PrefixCache cache_;
};

}  // namespace tessera
