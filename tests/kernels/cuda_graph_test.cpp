#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/support/error_matchers.h"

// Arrays of a step and graphs of operations, on the back end itself: its memory is the device's.
namespace tessera::kernels::cuda {
namespace {

using ::testing::ElementsAre;

constexpr std::int64_t kGraphRows = 4;

class CudaGraphTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = missing_for(backend_cases().front());
    if (!missing.empty()) GTEST_SKIP() << missing;
    backend_ = create_cuda_backend({});
    backend_->reserve_step_arrays(4096);
    x_ = backend_->allocate(kGraphRows * 4);
    out_ = backend_->allocate(kGraphRows * 4);
    const std::vector<float> x = {10.0F, 11.0F, 12.0F, 13.0F};
    backend_->upload(x.data(), x_.data(), x_.num_bytes());
  }

  // Arrays of a new step.
  std::span<std::int64_t> begin_rows(std::initializer_list<std::int64_t> values) {
    const auto rows =
        backend_->begin_step_arrays().take<std::int64_t>(static_cast<std::int64_t>(values.size()));
    std::copy(values.begin(), values.end(), rows.begin());
    return rows;
  }

  void gather(std::span<const std::int64_t> rows) {
    const auto count = static_cast<std::int64_t>(rows.size());
    backend_->gather_rows({x_.data(), DType::kFloat32, kGraphRows, 1, 1}, rows,
                          {out_.data(), DType::kFloat32, count, 1, 1});
  }

  std::vector<float> out() {
    std::vector<float> values(kGraphRows);
    backend_->download(out_.data(), values.data(), out_.num_bytes());
    return values;
  }

  std::unique_ptr<Backend> backend_;
  Buffer x_;
  Buffer out_;
};

TEST_F(CudaGraphTest, OperationsReadWhatWasSentOfTheStepsArrays) {
  const auto rows = begin_rows({3, 1, 0, 2});
  backend_->send_step_arrays();
  rows[0] = 0;  // too late
  gather(rows);
  EXPECT_THAT(out(), ElementsAre(13.0F, 11.0F, 10.0F, 12.0F));
  gather(rows.subspan(1, 2));
  EXPECT_THAT(out(), ElementsAre(11.0F, 10.0F, 10.0F, 12.0F));
}

TEST_F(CudaGraphTest, ArraysThatWereNotSentAreRefused) {
  const auto sent = begin_rows({0});
  backend_->send_step_arrays();
  const auto rows = begin_rows({0});
  EXPECT_EQ(rows.data(), sent.data()) << "equal arrays are at equal places";
  EXPECT_ERROR(gather(rows), kInternal);
  EXPECT_ERROR(backend_->begin_step_arrays().take<std::int64_t>(4096), kInternal);
}

TEST_F(CudaGraphTest, ALaunchReadsWhatWasSentLast) {
  const auto rows = begin_rows({3, 2, 1, 0});
  backend_->send_step_arrays();
  const auto graph = backend_->capture([&] { gather(rows); });
  EXPECT_THAT(out(), ElementsAre(0.0F, 0.0F, 0.0F, 0.0F)) << "kept, not run";
  graph->launch();
  EXPECT_THAT(out(), ElementsAre(13.0F, 12.0F, 11.0F, 10.0F));
  begin_rows({0, 1, 3, 3});
  backend_->send_step_arrays();
  graph->launch();
  EXPECT_THAT(out(), ElementsAre(10.0F, 11.0F, 13.0F, 13.0F));
}

TEST_F(CudaGraphTest, AGraphDoesNotTakeArraysThatLieElsewhere) {
  const auto rows = begin_rows({3, 2, 1, 0});
  backend_->send_step_arrays();
  const auto graph = backend_->capture([&] { gather(rows); });
  StepArrays& arrays = backend_->begin_step_arrays();
  arrays.take<std::int64_t>(1);
  std::ranges::fill(arrays.take<std::int64_t>(4), 0);
  backend_->send_step_arrays();
  EXPECT_ERROR(graph->launch(), kInternal);
}

TEST_F(CudaGraphTest, OperationsOfAGraphRunInTheirOrder) {
  const auto graph = backend_->capture([&] {
    const MatrixView x{x_.data(), DType::kFloat32, kGraphRows, 1, 1};
    const MatrixView out{out_.data(), DType::kFloat32, kGraphRows, 1, 1};
    backend_->add(out, x);
    backend_->scale(out, 2.0F);
    backend_->add(out, x);
  });
  graph->launch();
  EXPECT_THAT(out(), ElementsAre(30.0F, 33.0F, 36.0F, 39.0F));
  graph->launch();
  EXPECT_THAT(out(), ElementsAre(90.0F, 99.0F, 108.0F, 117.0F));
}

// What fails leaves no capture behind.
TEST_F(CudaGraphTest, WhatNoGraphCanHoldIsRefused) {
  const std::vector<std::int64_t> own = {1, 2};
  EXPECT_ERROR(backend_->capture([&] { gather(own); }), kInternal);
  EXPECT_ERROR(backend_->capture([&] { out(); }), kDevice);
  EXPECT_ERROR(backend_->capture([&] { backend_->allocate(64); }), kDevice);
  gather(own);
  EXPECT_THAT(out(), ElementsAre(11.0F, 12.0F, 0.0F, 0.0F));
  const auto rows = begin_rows({2});
  backend_->send_step_arrays();
  backend_->capture([&] { gather(rows); })->launch();
  EXPECT_THAT(out(), ElementsAre(12.0F, 12.0F, 0.0F, 0.0F));
}

TEST_F(CudaGraphTest, WorkThatSwallowsAnErrorMakesNoGraph) {
  const auto work = [&] {
    try {
      out();
    } catch (const Error&) {
    }
  };
  EXPECT_ERROR(backend_->capture(work), kDevice);
}

TEST_F(CudaGraphTest, ScratchMemoryStaysWhereGraphsExpectIt) {
  const Buffer logits = backend_->allocate(2 * 4096 * 4);
  const auto statistics = [&](std::int64_t rows) {
    std::vector<LogitStatistics> results(static_cast<std::size_t>(rows));
    std::vector<Measure> measures(results.size());
    backend_->logit_statistics({{logits.data(), DType::kFloat32, rows, 4096, 4096}, 8, 0}, measures,
                               results);
  };
  statistics(1);
  backend_->capture([&] { backend_->scale({x_.data(), DType::kFloat32, kGraphRows, 1, 1}, 1.0F); });
  statistics(1);
  EXPECT_ERROR(statistics(2), kInternal);
}

}  // namespace
}  // namespace tessera::kernels::cuda
