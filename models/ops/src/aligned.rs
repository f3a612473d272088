//! Memory in which no line crosses a cache line.

use super::blocks::{BLOCK, Line};

/// Lines at multiples of 64 bytes.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    /// A line more than there are, to begin anywhere within the first.
    numbers: Vec<f32>,
    lines: usize,
}

impl Aligned {
    pub(super) fn zeros(lines: usize) -> Self {
        Self { numbers: vec![0.0; (lines + 1) * BLOCK], lines }
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.numbers[self.offset()..].as_chunks().0[..self.lines]
    }

    pub(super) fn lines_mut(&mut self) -> &mut [Line] {
        let offset = self.offset();
        &mut self.numbers[offset..].as_chunks_mut().0[..self.lines]
    }

    /// This many lines of any content.
    pub(super) fn some(&mut self, lines: usize) -> &mut [Line] {
        if self.lines < lines {
            *self = Self::zeros(lines);
        }
        &mut self.lines_mut()[..lines]
    }

    fn offset(&self) -> usize {
        // Where alignment cannot be told, any place will do.
        Some(self.numbers.as_ptr().align_offset(size_of::<Line>())).filter(|offset| *offset < BLOCK).unwrap_or(0)
    }
}

impl Clone for Aligned {
    fn clone(&self) -> Self {
        let mut clone = Self::zeros(self.lines);
        clone.lines_mut().copy_from_slice(self.lines());
        clone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_survive_copies() {
        let mut lines = Aligned::zeros(3);
        lines.lines_mut()[2][15] = 1.0;
        for copy in [lines.clone(), lines.clone(), lines] {
            assert!(copy.lines().as_ptr().addr().is_multiple_of(64));
            assert_eq!((copy.lines().len(), copy.lines()[2][15]), (3, 1.0));
        }
        assert_eq!(Aligned::default().some(5).len(), 5);
    }
}
