//! What models cost. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::reviewer::Usage;

/// What `MODEL_PRICES` is unless it is set. Prices change: check them against the vendor's list.
pub const DEFAULT: &str = "claude-opus=5/25,claude-sonnet=3/15,claude-haiku=1/5";

/// What a token read from the prompt cache costs, unless told, as a part of one that is read anew.
const CACHED: f64 = 0.1;
/// What a token costs that is read and written to the prompt cache, as a multiple of one that is only read.
const CACHE_WRITE: f64 = 1.25;

/// USD per million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    input: f64,
    output: f64,
    cached: f64,
}

/// Prices by the beginning of the model's name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prices(BTreeMap<String, Price>);

impl Price {
    /// What so many tokens cost, in USD.
    #[allow(clippy::cast_precision_loss, reason = "nobody is billed for 2^53 tokens")]
    pub fn cost(self, usage: Usage) -> f64 {
        let of = |tokens: u64, price: f64| tokens as f64 * price / 1e6;
        of(usage.input_tokens, self.input)
            + of(usage.output_tokens, self.output)
            + of(usage.cached_tokens, self.cached)
            + of(usage.cache_write_tokens, self.input * CACHE_WRITE)
    }
}

impl Prices {
    /// The price of `model`: that of the longest beginning that is listed.
    pub fn of(&self, model: &str) -> Option<Price> {
        let listed = self.0.iter().filter(|(beginning, _)| model.starts_with(beginning.as_str()));
        listed.max_by_key(|(beginning, _)| beginning.len()).map(|(_, price)| *price)
    }
}

impl FromStr for Prices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(entry).collect::<Result<_, _>>().map(Self)
    }
}

/// `claude-sonnet=3/15` or, with the price of what is cached, `claude-sonnet=3/15/0.3`.
fn entry(text: &str) -> Result<(String, Price), String> {
    let wrong = || format!("`{text}` is not BEGINNING=INPUT/OUTPUT or BEGINNING=INPUT/OUTPUT/CACHED");
    let (beginning, prices) = text.split_once('=').ok_or_else(wrong)?;
    let prices: Vec<f64> = prices.split('/').map(dollars).collect::<Option<_>>().ok_or_else(wrong)?;
    let price = match prices[..] {
        [input, output] => Price { input, output, cached: input * CACHED },
        [input, output, cached] => Price { input, output, cached },
        _ => return Err(wrong()),
    };
    match beginning.trim() {
        "" => Err(wrong()),
        beginning => Ok((beginning.to_owned(), price)),
    }
}

fn dollars(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|dollars: &f64| dollars.is_finite() && *dollars >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input_tokens: u64, output_tokens: u64, cached_tokens: u64, cache_write_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, cached_tokens, cache_write_tokens }
    }

    #[test]
    fn the_longest_beginning_counts() {
        let prices: Prices = "claude=9/9, claude-sonnet=3/15,claude-sonnet-5-5=4/20/1,".parse().unwrap();
        let cost = |model: &str| prices.of(model).map(|price| price.cost(usage(1_000_000, 0, 0, 0)));
        assert_eq!(cost("claude-sonnet-5-5"), Some(4.0));
        assert_eq!(cost("claude-sonnet-6"), Some(3.0));
        assert_eq!(cost("claude-opus-5-5"), Some(9.0));
        assert_eq!(cost("gpt"), None);
        assert_eq!("".parse::<Prices>().unwrap().of("claude"), None);
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let default: Prices = DEFAULT.parse().unwrap();
        let cost = |usage| default.of("claude-sonnet-5-5").unwrap().cost(usage);
        assert!((cost(usage(1_000_000, 1_000_000, 0, 0)) - 18.0).abs() < 1e-9);
        assert!((cost(usage(0, 0, 1_000_000, 0)) - 0.3).abs() < 1e-9, "a tenth");
        assert!((cost(usage(0, 0, 0, 1_000_000)) - 3.75).abs() < 1e-9, "a quarter more");
        let told: Prices = "x=1/2/0.5".parse().unwrap();
        assert!((told.of("x").unwrap().cost(usage(0, 0, 2_000_000, 0)) - 1.0).abs() < 1e-9);
        for model in ["claude-opus-5-5", "claude-haiku-5-5"] {
            assert!(default.of(model).is_some());
        }
    }

    #[test]
    fn a_wrong_entry_is_named() {
        for wrong in ["claude", "claude=3", "=3/15", "claude=3/x", "claude=-1/2", "claude=1/inf", "a=1/2/3/4"]
        {
            assert!(format!("ok=1/2,{wrong}").parse::<Prices>().unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
