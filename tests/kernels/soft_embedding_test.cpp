#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/partition.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/support/error_matchers.h"

namespace tessera::kernels {
namespace {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

struct Size {
  std::int64_t vocab, hidden, rows;
};

// Tables narrower than a panel, with ragged ends in both directions, several tiles of rows.
constexpr Size kSizes[] = {
    {128, 2, 1}, {640, 10, 3}, {2048, 64, 7}, {1400, 134, 13}, {1024, 200, 103}};

class SoftEmbeddingTest : public BackendTest {
 protected:
  void make(const Size& size) {
    size_ = size;
    padded_ = padded_vocabulary(size.vocab);
    table_ = TypedMatrix(activation(), random_matrix(size.vocab, size.hidden, 41));
    logits_ = random_matrix(size.rows, padded_, 42);
    partials_.clear();
    for (std::int64_t i = 0; i < size.rows; ++i) {
      for (std::int64_t id = 0; id < padded_; ++id) {
        if (id >= size.vocab || id % 7 == 3) logits_.at(i, id) = kMinusInf;
      }
      MeasurePartial partial;
      partial.temperature = i % 3 == 0 ? 0.5F : 1.25F;
      for (std::int64_t id = 0; id < padded_; ++id) {
        partial.max_logit = std::max(partial.max_logit, double{logits_.at(i, id)});
      }
      for (std::int64_t id = 0; id < padded_; ++id) {
        partial.tempered_sum +=
            std::exp((logits_.at(i, id) - partial.max_logit) / partial.temperature);
      }
      partials_.push_back(partial);
    }
  }

  // The part of one rank.
  Matrix soften(Backend& backend,
                std::int32_t rank,
                std::int32_t ranks,
                std::int64_t first,
                std::int64_t count) {
    const std::int64_t ids = padded_ / ranks;
    const auto head = backend.create_packed({ids, size_.hidden, 1, kNumLeaves / ranks});
    ConstMatrixView part = table_.view();
    part.data = table_.view().row(rank * ids);
    part.rows = std::clamp<std::int64_t>(size_.vocab - rank * ids, 0, ids);
    backend.pack_rows(*head, 0, part);
    ConstMatrixView logits = logits_.view();
    logits.data = &logits_.at(first, rank * ids);
    logits.rows = count;
    logits.cols = ids;
    std::vector<std::byte> workspace(
        static_cast<std::size_t>(backend.soft_embedding_workspace_bytes(*head, count)));
    Matrix out(count, size_.hidden);
    backend.soft_embedding({.logits = logits,
                            .table = head.get(),
                            .partials = std::span(partials_).subspan(
                                static_cast<std::size_t>(first), static_cast<std::size_t>(count)),
                            .workspace = workspace,
                            .out = out.view()});
    EXPECT_TRUE(out.padding_untouched());
    return out;
  }

  static void expect_same_bits(const Matrix& got, const Matrix& want, std::int64_t first) {
    for (std::int64_t i = 0; i < got.rows; ++i) {
      ASSERT_EQ(std::memcmp(got.view().row(i), want.view().row(first + i),
                            static_cast<std::size_t>(got.cols) * sizeof(float)),
                0)
          << "row " << first + i;
    }
  }

  Size size_{};
  std::int64_t padded_ = 0;
  TypedMatrix table_{DType::kFloat32, 0, 0};
  Matrix logits_{0, 0};
  std::vector<MeasurePartial> partials_;
};

TESSERA_FOR_EVERY_BACKEND(SoftEmbeddingTest);

TEST_P(SoftEmbeddingTest, IsTheExpectedEmbedding) {
  for (const Size& size : kSizes) {
    SCOPED_TRACE(::testing::Message() << size.vocab << " ids, hidden " << size.hidden);
    make(size);
    const Matrix got = soften(*backend_, 0, 1, 0, size.rows);
    for (std::int64_t i = 0; i < size.rows; ++i) {
      const MeasurePartial& partial = partials_[static_cast<std::size_t>(i)];
      for (std::int64_t k = 0; k < size.hidden; ++k) {
        double want = 0.0;
        double terms = 0.0;
        for (std::int64_t id = 0; id < size.vocab; ++id) {
          const double p = std::exp((logits_.at(i, id) - partial.max_logit) / partial.temperature) /
                           partial.tempered_sum;
          want += p * double{table_.at(id, k)};
          terms += p * std::abs(double{table_.at(id, k)});
        }
        ASSERT_NEAR(got.at(i, k), want, (rounding(activation()) + 1e-5) * terms)
            << "row " << i << " column " << k;
      }
    }
  }
}

TEST_P(SoftEmbeddingTest, RowsThreadsAndRanksDoNotChangeABit) {
  for (const Size& size : kSizes) {
    SCOPED_TRACE(::testing::Message() << size.vocab << " ids, hidden " << size.hidden);
    make(size);
    const Matrix whole = soften(*backend_, 0, 1, 0, size.rows);
    expect_same_bits(soften(*backend_, 0, 1, size.rows / 2, 1), whole, size.rows / 2);
    for (const std::int32_t num_threads : {2, 3}) {
      const auto threaded = GetParam().create(num_threads);
      expect_same_bits(soften(*threaded, 0, 1, 0, size.rows), whole, 0);
    }
    for (const std::int32_t ranks : {2, 4, 8}) {
      std::vector<Matrix> parts;
      for (std::int32_t r = 0; r < ranks; ++r) {
        parts.push_back(soften(*backend_, r, ranks, 0, size.rows));
      }
      for_each_branch(ranks, [&](std::int32_t left, std::int32_t right) {
        backend_->add(parts[static_cast<std::size_t>(left)].view(),
                      parts[static_cast<std::size_t>(right)].view());
      });
      expect_same_bits(parts[0], whole, 0);
    }
  }
}

TEST_P(SoftEmbeddingTest, RefusesWhatTheContractForbids) {
  make(kSizes[1]);
  const auto head = backend_->create_packed({padded_, size_.hidden, 1, kNumLeaves});
  std::vector<std::byte> workspace(
      static_cast<std::size_t>(backend_->soft_embedding_workspace_bytes(*head, size_.rows)));
  Matrix out(size_.rows, size_.hidden);
  SoftEmbeddingArgs args{logits_.view(), head.get(), partials_, workspace, out.view()};
  const auto error_with = [&](auto change) {
    SoftEmbeddingArgs broken = args;
    change(broken);
    EXPECT_ERROR(backend_->soft_embedding(broken), kInvalidArgument);
  };
  error_with([](SoftEmbeddingArgs& a) { a.table = nullptr; });
  error_with([](SoftEmbeddingArgs& a) { a.logits.cols -= 1; });
  error_with([](SoftEmbeddingArgs& a) { a.out.cols -= 1; });
  error_with([](SoftEmbeddingArgs& a) { a.partials = a.partials.first(1); });
  error_with([](SoftEmbeddingArgs& a) { a.workspace = a.workspace.first(1); });
  partials_[1].tempered_sum = 0.0;
  error_with([](SoftEmbeddingArgs&) {});
}

}  // namespace
}  // namespace tessera::kernels
