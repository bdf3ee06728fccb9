#include "model/dense.h"

#include <math.h>

int dense_cholesky(double *a, int n) {
    for (int j = 0; j < n; j++) {
        double *row_j = a + (long)j * n;
        for (int i = 0; i < j; i++) row_j[j] -= row_j[i] * row_j[i];
        if (!(row_j[j] > 0) || !isfinite(row_j[j])) return 0;
        row_j[j] = sqrt(row_j[j]);
        for (int r = j + 1; r < n; r++) {
            double *row = a + (long)r * n, sum = row[j];
            for (int i = 0; i < j; i++) sum -= row[i] * row_j[i];
            row[j] = sum / row_j[j];
        }
        for (int c = j + 1; c < n; c++) row_j[c] = 0;
    }
    return 1;
}

void dense_forward(const double *lower, int n, double *b) {
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++) b[i] -= lower[(long)i * n + j] * b[j];
        b[i] /= lower[(long)i * n + i];
    }
}

void dense_backward(const double *lower, int n, double *b) {
    for (int i = n - 1; i >= 0; i--) {
        b[i] /= lower[(long)i * n + i];
        for (int j = 0; j < i; j++) b[j] -= lower[(long)i * n + j] * b[i];
    }
}
