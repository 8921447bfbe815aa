#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/types.h"

namespace tessera {

/// Who holds which page of one replica. Owns ids and counts, not memory: the ranks hold the bytes.
///
///     free --allocate--> active (1 reference) <--retain/release--> active (n references)
///      ^                    |  last release                         |  last release of a kept page
///      |<-------------------+                                       v
///      |<-------------------------- take_oldest_cached -------- cached <--retain--> active
///
/// A page with two or more references is shared and must not be written. A page is *kept* while
/// the prefix cache wants its content to outlive its last reference. Cached pages are ordered by
/// their last release.
///
/// Owned by the engine thread.
class PageAllocator {
 public:
  /// @param num_pages  > 0; ids are [0, num_pages).
  explicit PageAllocator(std::int32_t num_pages);

  std::int32_t num_pages() const { return static_cast<std::int32_t>(pages_.size()); }
  std::int32_t num_free() const { return static_cast<std::int32_t>(free_.size()); }
  std::int32_t num_cached() const { return num_cached_; }
  std::int32_t num_active() const { return num_pages() - num_free() - num_cached(); }

  /// Whether `count` pages can be had, cached ones included.
  bool can_allocate(std::int32_t count) const { return count <= num_free() + num_cached(); }

  /// A free page, with one reference. num_free() must not be 0.
  PageId allocate();

  /// Adds a reference to an active or cached page.
  void retain(PageId page);

  /// Drops a reference. The last one frees the page, or leaves it cached if it is kept.
  void release(PageId page);

  /// Marks an active page: its content outlives its last reference.
  void keep(PageId page);

  /// Frees the cached page that was released first; none if no page is cached. Its content may be
  /// overwritten from now on.
  std::optional<PageId> take_oldest_cached();

  std::int32_t num_references(PageId page) const { return at(page).references; }
  bool is_kept(PageId page) const { return at(page).kept; }

  /// Throws Error{kInternal} unless every page is in exactly one of the three states.
  void check_integrity() const;

 private:
  struct Page {
    std::int32_t references = 0;
    bool kept = false;
    PageId older = 0;  ///< Neighbours in the ring of cached pages.
    PageId newer = 0;
  };

  const Page& at(PageId page) const;
  Page& at(PageId page);
  void link_newest(PageId page);
  void unlink(PageId page);

  std::vector<Page> pages_;
  std::vector<PageId> free_;     ///< The page freed last is used first.
  PageId oldest_cached_ = 0;     ///< Valid while num_cached_ > 0.
  std::int32_t num_cached_ = 0;  ///< Length of the ring.
};

}  // namespace tessera
